"""Tags that share a trunk share its stages: one after the other, and at the same time."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from running import Miniseries

pytestmark = pytest.mark.slow


def training(plan: dict[str, Any]) -> list[tuple[str, str]]:
    return [(stage["kind"], stage["state"]) for stage in plan["stages"] if stage["kind"] in ("pretrain", "recalibrate")]


@pytest.mark.xdist_group("finished")
def test_a_second_tag_trains_only_what_it_does_not_share_and_plan_says_so_before(
    finished: Miniseries, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = finished.on_copy(tmp_path_factory.mktemp("sharing"))
    cached, pending = ("pretrain", "cached"), ("pretrain", "pending")
    assert training(store.json("plan", "micro", "--json")) == [cached, cached, pending, pending]
    states = store.json("make", "micro", "pretrain")
    trained = [state for folder, state in states.items() if folder.startswith("pretrain/")]
    assert trained == ["cached", "cached", "made", "made"]


def test_two_runs_started_together_make_each_shared_stage_once_and_the_other_reuses_it(miniseries: Miniseries) -> None:
    together = [
        miniseries.start("make", "micro_drope_25", "recalibrate"),
        miniseries.start("make", "micro_drope_50", "recalibrate"),
    ]
    states: Counter[tuple[str, bool]] = Counter()
    for process in together:
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        states.update((folder, state == "made") for folder, state in json.loads(output).items())
    made = {folder: count for (folder, is_made), count in states.items() if is_made}
    assert set(made.values()) == {1}, made
    shared = {folder for (folder, is_made) in states if not is_made}
    assert any(folder.startswith("pretrain/micro-000000-000004") for folder in shared)
    assert len([folder for folder in made if folder.startswith("recalibrate/")]) == 2
