"""The example of a corpus of one's own, from files to publication, by the command line that everybody has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from running import ROOT, Miniseries

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("own corpus")]

SERIES = str(ROOT / "examples" / "own_corpus.yaml")
FOLDER = ROOT / "examples" / "own_corpus"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[Miniseries, Any]:
    """A finished run of the example, and what it printed."""
    home = tmp_path_factory.mktemp("own")
    series = Miniseries(home, str(home / "store"), {"MINISERIES_SERIES": SERIES})
    return series, series.json("run", "own", "--json")


def test_every_file_is_read_and_the_last_is_held_out(own: tuple[Miniseries, Any]) -> None:
    series, _ = own
    training, held_out = sorted(series.manifests("corpus"), key=lambda one: one["identity"]["first_shard"])
    names = sorted(path.name for path in FOLDER.glob("*.jsonl"))
    read = [[Path(file["file"]).name for file in one["metrics"]["read"]] for one in (training, held_out)]
    assert read == [names[:-1], names[-1:]]
    lines = sum(len(path.read_text().splitlines()) for path in FOLDER.glob("*.jsonl"))
    assert training["metrics"]["documents"] + held_out["metrics"]["documents"] == lines


def test_manifest_and_plan_say_how_often_so_short_a_corpus_was_read(own: tuple[Miniseries, Any]) -> None:
    series, result = own
    rows = next(one["metrics"]["rows"] for one in series.manifests("pack") if one["identity"]["first_shard"] == 0)
    last = max(series.manifests("pretrain"), key=lambda one: one["identity"]["end_step"])
    assert last["metrics"]["epochs"] == pytest.approx(80 * 8 / rows, abs=1e-3)
    planned = next(one for one in series.json("plan", "own", "--json")["stages"] if one["key"] == last["key"])
    assert planned["stream"] == {"groups": 1, "groups_packed": 1, "epochs": last["metrics"]["epochs"]}
    assert f"{last['metrics']['epochs']:.1f} times through its corpus" in series.run("plan", "own").stdout
    assert last["key"] in result["stages"]


def test_it_is_published(own: tuple[Miniseries, Any]) -> None:
    series, _ = own
    assert (Path(series.store) / "hub" / "miniseries" / "nanochat-own-hf-sft" / "model.safetensors").is_file()
