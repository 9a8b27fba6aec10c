"""An estimate is kept beside what a stage took, and the two are compared in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifacts.store import Store
from core.planning.actual import comparison, estimate_metrics
from core.planning.calibration import CalibrationRecord, calibration_path
from core.planning.catalogue import stages_of
from core.planning.cost import stage_cost
from core.planning.speed import shape_of
from core.planning.stage import Stage
from core.stages.kind import StageKind


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"), tmp_path / "cache")


def only(tag: str, kind: StageKind) -> Stage:
    return next(stage for stage in stages_of(tag).values() if stage.kind is kind)


def test_a_known_device_is_estimated_by_assumption_until_it_was_measured(store: Store) -> None:
    segment, device = only("d18_9tpp", StageKind.PRETRAIN), "NVIDIA H100 80GB HBM3"
    assumed = estimate_metrics(segment, device, store)
    assert assumed["estimate_basis"] == "assumed"
    assert assumed["estimated_device_seconds"] == pytest.approx(3600 * stage_cost(segment).gpu_hours, abs=0.001)
    shape = shape_of(segment)
    assert shape is not None
    record = CalibrationRecord.of(
        shape, batch_tokens=2**20, steps=5, tokens_per_second=2.0**20, numerics={"device": device}
    )
    store.records.write(calibration_path(device, shape), record)
    assert estimate_metrics(segment, device, store) == {
        "estimated_device_seconds": 696.0,
        "estimate_basis": "measured",
    }


def test_what_trains_nothing_or_runs_on_an_unknown_device_has_no_estimate(store: Store) -> None:
    assert estimate_metrics(only("tiny", StageKind.TOKENIZER), "NVIDIA H100 80GB HBM3", store) == {}
    assert estimate_metrics(only("tiny", StageKind.PRETRAIN), "cpu", store) == {}


def stage_metrics(actual: float, estimated: float, basis: str = "measured") -> dict[str, object]:
    return {"device_seconds": actual, "estimated_device_seconds": estimated, "estimate_basis": basis}


def test_the_comparison_says_how_far_the_estimate_was_off() -> None:
    assert comparison([stage_metrics(110, 100)]) == (
        "took 110.0 s of one device, 10% more than the 100.0 s estimated (measured speed)"
    )
    assert "25% less than the 2.00 hours" in comparison([stage_metrics(5400, 7200)])
    assert "4.0 times the 100.0 s" in comparison([stage_metrics(400, 100)])
    together = comparison([stage_metrics(50, 60), stage_metrics(50, 40, "assumed"), {"device_seconds": 1000}])
    assert together == "took 100.0 s of one device, 0% more than the 100.0 s estimated (assumed speed)"
    assert comparison([{"device_seconds": 3.0}]) == ""
