"""Measured speeds in a store: found by device and shape, and used in plans."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifacts.store import Store
from core.planning.calibration import CalibrationRecord, calibration_path, chosen_speeds, speeds_on
from core.planning.catalogue import stages_of
from core.planning.cost import Terms
from core.planning.listing import plan_listing
from core.planning.plan import plan_of
from core.planning.speed import Shape, shape_of
from core.recipes.recipe import RecipeError

H100, H100_PCIE = "NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"), tmp_path / "cache")


def shapes_of(tag: str) -> list[Shape]:
    return list(dict.fromkeys(shape for stage in stages_of(tag).values() if (shape := shape_of(stage))))


def measure(store: Store, device: str, tokens_per_second: float, shapes: list[Shape]) -> None:
    for shape in shapes:
        record = CalibrationRecord.of(
            shape, batch_tokens=2048, steps=5, tokens_per_second=tokens_per_second, numerics={"device": device}
        )
        store.records.write(calibration_path(device, shape), record)


def chosen(store: Store, tag: str, gpu: str | None) -> tuple[str, set[float]]:
    speeds = chosen_speeds(store, store.contents().others, shapes_of(tag), gpu)
    return speeds.device, set(speeds.measured.values())


def test_a_record_lies_where_its_device_architecture_and_precision_say(store: Store, tmp_path: Path) -> None:
    (shape,) = shapes_of("tiny")
    measure(store, H100, 10.0, [shape])
    (path,) = (tmp_path / "store" / "calibration").rglob("*.json")
    assert path.parent.name == "nvidia-h100-80gb-hbm3"
    assert path.name == f"{shape.name}.json"
    assert speeds_on(store, H100, [shape]).measured == {shape: 10.0}
    assert speeds_on(store, "cpu", [shape]).measured == {}


def test_measuring_again_replaces_the_record(store: Store) -> None:
    for speed in (10.0, 20.0):
        measure(store, "cpu", speed, shapes_of("tiny"))
    assert chosen(store, "tiny", "cpu") == ("cpu", {20.0})


def test_without_a_name_the_device_counts_on_which_every_shape_was_measured(store: Store) -> None:
    assert chosen(store, "tiny_long", None) == ("H100", set())
    measure(store, "cpu", 10.0, shapes_of("tiny_long")[:1])
    assert chosen(store, "tiny_long", None) == ("H100", set())
    measure(store, "cpu", 10.0, shapes_of("tiny_long"))
    assert chosen(store, "tiny_long", None) == ("cpu", {10.0})
    assert chosen(store, "d20_9tpp", None) == ("H100", set())


def test_part_of_a_name_finds_the_calibrated_device(store: Store) -> None:
    measure(store, H100, 10.0, shapes_of("tiny"))
    measure(store, "NVIDIA H100 80GB HBM3 MIG 1g.10gb", 1.0, shapes_of("tiny"))
    assert chosen(store, "tiny", "h100") == (H100, {10.0})
    assert chosen(store, "tiny", H100) == (H100, {10.0})
    measure(store, H100_PCIE, 20.0, shapes_of("tiny"))
    assert chosen(store, "tiny", "h100 pcie") == (H100_PCIE, {20.0})
    with pytest.raises(RecipeError, match="any of nvidia-h100-80gb-hbm3, nvidia-h100-pcie"):
        chosen(store, "tiny", "H100")


def test_a_device_that_nobody_knows_is_refused(store: Store) -> None:
    assert chosen(store, "tiny", "b200") == ("B200", set())
    with pytest.raises(RecipeError, match=r"no device is called 'Z9000'.*calibrate"):
        chosen(store, "tiny", "Z9000")


def test_a_plan_uses_what_was_measured_and_says_so(store: Store) -> None:
    measure(store, H100, 100_000.0, shapes_of("d18_9tpp")[:1])
    listed = plan_listing(plan_of(["d18_9tpp"], store, "H100"), Terms())
    assert listed["estimate"]["device"] == H100
    assert listed["estimate"]["basis"] == "mixed"
    bases = {stage["kind"]: (stage["basis"], stage["gpu_hours"]) for stage in listed["stages"]}
    assert bases["pretrain"] == ("measured", 696 * 2**20 / 100_000 / 3600)
    assert bases["sft"][0] == "assumed"
    assert bases["evaluate"] == (None, 0.0)
