"""`miniseries maintenance` on a store that is well, and on one in which a stage is no longer what it makes."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from running import Miniseries

from artifacts.manifest import Manifest
from artifacts.transfer import record_files

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("finished")]

TRAINED = ("pretrain", "recalibrate", "sft", "long_sft")


def newest_report(server: str) -> dict[str, Any]:
    """The newest version of the report that the Prefect server shows."""
    wanted = {"artifacts": {"key": {"any_": ["maintenance"]}}, "sort": "CREATED_DESC", "limit": 1}
    request = urllib.request.Request(
        f"{server}/artifacts/filter", json.dumps(wanted).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        report: dict[str, Any] = json.load(answer)[0]
    return report


def falsify(store: Path, kind: str) -> None:
    """Put other optimizer states into the artifacts of a kind, with manifests that vouch for them."""
    for path in (store / kind).glob("*/manifest.json"):
        manifest = Manifest.decode(path.read_bytes(), "it")
        folder = path.parent / "files" / manifest.attempt
        tensors = folder / "optimizer.safetensors"
        content = tensors.read_bytes()
        tensors.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        path.write_bytes(manifest.model_copy(update={"files": record_files(folder)}).encode())


def test_a_share_is_read_and_a_stage_made_again_with_the_same_bytes(
    finished: Miniseries, prefect_server: str, tmp_path: Path
) -> None:
    copy = finished.on_copy(tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "store").rglob("manifest.json")}
    report = copy.json("maintenance", "--verify-gb", "0.001", "--seed", "1", "--json")
    assert report["problems"] == []
    first = report["verification"]
    assert 0 < first["verified"] < first["artifacts"] == len(before)
    made = report["recomputation"]["comparison"]
    assert made["folder"].partition("/")[0] in TRAINED
    assert (made["same_domain"], made["differences"]) == (True, [])
    assert made["compared"] == "the bytes of model.safetensors, optimizer.safetensors, state.json, loss.jsonl"
    assert report["garbage"]["collected"] is None
    assert {path: path.read_bytes() for path in before} == before
    shown = newest_report(prefect_server)
    assert made["folder"] in shown["data"]
    kept = json.loads((tmp_path / "store" / "maintenance" / "report.json").read_text())
    assert kept["report"] == report

    again = copy.json("maintenance", "--verify-gb", "0.001", "--recompute-minutes", "0", "--json")
    assert again["verification"]["first"] > first["last"]
    assert again["recomputation"]["comparison"] is None


def test_a_stage_that_comes_out_otherwise_and_damage_fail_the_run_in_one_line(
    finished: Miniseries, prefect_server: str, tmp_path: Path
) -> None:
    copy = finished.on_copy(tmp_path)
    for kind in TRAINED:
        falsify(tmp_path / "store", kind)
    sample = min((tmp_path / "store" / "evaluate").glob("*/files/*/*"))
    sample.write_bytes(sample.read_bytes() + b"x")

    done = copy.run("maintenance", "--json")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    report = json.loads(done.stdout)
    (damaged,) = report["verification"]["damaged"]
    damage, *differences = report["problems"]
    assert damage.startswith(f"{damaged['folder']} is damaged: {sample.name}: expected")
    assert differences == report["recomputation"]["comparison"]["differences"]
    states = next(line for line in differences if "optimizer.safetensors" in line)
    assert states.partition("/")[0] in TRAINED
    assert len(re.findall(r"[0-9a-f]{64}", states)) == 2
    assert states in done.stderr
    assert newest_report(prefect_server)["description"].startswith(f"{damaged['folder']} is damaged")
