"""Runs of one base model whose recipes expect too few and too many shard groups: the same model, the same groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import expecting_miniseries
import pytest
from running import Miniseries

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("expecting")]

GROUPS = [f"python-docs-{shard:05d}-{shard + 1:05d}" for shard in range(3)]
HELD_OUT = "python-docs-00008-00009"


@pytest.fixture(scope="module", params=list(expecting_miniseries.EXPECTED_ROWS))
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Miniseries, str, Any]:
    """A finished run of a tag, the tag, and what it printed."""
    home = tmp_path_factory.mktemp(request.param)
    series = Miniseries(home, str(home / "store"), program=Path(expecting_miniseries.__file__))
    return series, request.param, series.json("run", request.param, "--json")


@pytest.fixture(scope="module")
def models() -> dict[str, dict[str, list[tuple[str, str]]]]:
    """Files of the trained segments by tag and key, from one parameter of `run` to the next."""
    return {}


def test_exactly_the_groups_that_hold_the_rows_are_packed_and_the_model_is_the_same(
    run: tuple[Miniseries, str, Any], models: dict[str, dict[str, list[tuple[str, str]]]]
) -> None:
    series, tag, result = run
    packs = series.manifests("pack")
    assert [manifest["name"] for manifest in packs] == [*GROUPS, HELD_OUT]
    assert {manifest["key"] for manifest in packs} <= result["stages"].keys()
    segments = series.manifests("pretrain")
    read = [len([role for role in one["provenance"]["observed"] if role.startswith("group-")]) for one in segments]
    assert [one["identity"]["end_step"] for one in segments] == [32, 65, 98, 130]
    assert read == [0, 1, 1, 2]  # beside the first group, which is an input
    models[tag] = {
        one["key"]: [(file["path"], file["sha256"]) for file in one["files"] if file["path"].endswith(".safetensors")]
        for one in segments
    }
    assert all(models[tag].values())
    assert all(found == models[tag] for found in models.values())


def test_afterwards_the_plan_has_these_groups_and_nothing_to_do(run: tuple[Miniseries, str, Any]) -> None:
    series, tag, _ = run
    plan = series.json("plan", tag, "--json")
    assert {stage["name"] for stage in plan["stages"] if stage["kind"] == "pack"} == {*GROUPS, HELD_OUT}
    assert [stage for stage in plan["stages"] if stage["needed"]] == []
    last = max((one for one in plan["stages"] if one["kind"] == "pretrain"), key=lambda one: one["name"])
    assert last["stream"] == {"groups": 3, "groups_packed": 3, "epochs": 1.0}
    assert series.run("verify", tag).stdout.endswith("artifacts verified, 0 damaged\n")
