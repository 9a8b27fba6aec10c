"""A flipped byte: refused by name, listed by verify, made again by the next run, with the same bytes as before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import Miniseries

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("finished")]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_flipped_byte_is_refused_by_name_listed_and_repaired_by_running_again(
    finished: Miniseries, tmp_path: Path
) -> None:
    store = finished.on_copy(tmp_path)
    (manifest,) = store.manifests("tokenizer")
    folder = f"tokenizer/{manifest['name']}-{manifest['key'][:12]}"
    flip(Path(store.store) / folder / "files" / manifest["attempt"] / "ranks.tiktoken")

    refused = store.run("make", "micro_drope_50", "pack")
    assert refused.returncode == 1
    assert folder in refused.stderr
    assert "ranks.tiktoken" in refused.stderr
    assert "Traceback" not in refused.stderr

    listed = store.run("verify", "--json")
    assert listed.returncode == 1
    assert [entry["artifact"] for entry in json.loads(listed.stdout) if entry["damages"]] == [folder]
    plan = store.json("plan", "micro_drope_50_long", "--json")
    (stage,) = [stage for stage in plan["stages"] if stage["kind"] == "tokenizer"]
    assert (stage["state"], stage["needed"]) == ("pending", True)
    assert sum(other["needed"] for other in plan["stages"]) == 1, "what was made from it is still good"

    assert store.json("make", "micro_drope_50", "tokenizer")[folder] == "made"
    (repaired,) = store.manifests("tokenizer")
    assert repaired["files"] == manifest["files"]
    assert store.run("verify").returncode == 0
