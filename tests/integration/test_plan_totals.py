"""What a plan says of a run, and what the run's artifacts say was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from running import Miniseries

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("finished")]

BATCH_TOKENS = 512  # of the micro family


def losses(whole: Miniseries, manifest: dict[str, Any]) -> list[dict[str, float]]:
    folder = Path(whole.store) / manifest["kind"] / f"{manifest['name']}-{manifest['key'][:12]}"
    path = folder / "files" / manifest["attempt"] / "loss.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_totals_of_a_plan_are_the_sum_of_what_its_run_trained(finished: Miniseries) -> None:
    plan = finished.json("plan", "micro_drope_50_long", "--json")
    trained = [*finished.manifests("pretrain"), *finished.manifests("recalibrate")]
    planned = {stage["key"]: stage for stage in plan["stages"]}
    steps = []
    for manifest in trained:
        trace = losses(finished, manifest)
        steps += [record["step"] for record in trace]
        assert len(trace) * BATCH_TOKENS == planned[manifest["key"]]["tokens"] == manifest["metrics"]["tokens"]
    assert sorted(steps) == list(range(16))  # the trunk, then the recalibration: every step once
    assert plan["totals"]["tokens"] == len(steps) * BATCH_TOKENS
    assert plan["totals"]["tokens_done"] == plan["totals"]["tokens"]
    assert plan["totals"]["tokens_remaining"] == 0
    assert plan["totals"]["tokens_unshared"] == plan["totals"]["tokens"]


def test_sizes_in_the_plan_of_a_finished_run_are_those_of_its_manifests(finished: Miniseries) -> None:
    for stage in finished.json("plan", "micro_drope_50_long", "--json")["stages"]:
        (manifest,) = [one for one in finished.manifests(stage["kind"]) if one["key"] == stage["key"]]
        assert stage["bytes"] == sum(file["bytes"] for file in manifest["files"]), stage["name"]
        assert stage["bytes_basis"] == "measured"


def test_estimated_sizes_are_close_to_what_is_made(finished: Miniseries, tmp_path: Path) -> None:
    """Of models, whose shapes say it all but for file headers; text compresses as it likes."""
    empty = Miniseries(finished.home, str(tmp_path / "empty"))
    made = {stage["key"]: stage["bytes"] for stage in finished.json("plan", "micro_drope_50_long", "--json")["stages"]}
    for stage in empty.json("plan", "micro_drope_50_long", "--json")["stages"]:
        if stage["kind"] in ("pretrain", "recalibrate", "sft", "long_sft", "export_native"):
            assert stage["bytes"] == pytest.approx(made[stage["key"]], rel=0.25), stage["name"]
