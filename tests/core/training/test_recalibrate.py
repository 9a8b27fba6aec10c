"""The drop: RoPE off from the first step, everything else as if nothing had happened."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from safetensors.torch import load_file

from core.evaluation.recovery import read_recovery
from core.model.checkpoint import load_model, load_state
from core.stages.context import StageError
from core.stages.identity import TrainingIdentity
from core.stages.runtime import Runtime
from core.training.recalibrate import recovery_interval

Train = Callable[..., Any]


def test_a_branch_drops_positions_measures_both_ways_and_recovers(
    base: Any, train: Train, segment: TrainingIdentity
) -> None:
    trunk = train("trunk", "pretrain", replace(segment, end_step=10))
    branch = train("branch", "recalibrate", replace(segment, first_step=10, use_rope=False), parent=trunk.folder)
    assert load_state(branch.folder).use_rope is False
    assert load_model(branch.folder).use_rope is False
    assert branch.metrics["drop_bpb_with_rope"] == trunk.metrics["validation_bpb"]
    assert branch.metrics["drop_bpb_without_rope"] > branch.metrics["drop_bpb_with_rope"]
    assert branch.metrics["validation_bpb"] < branch.metrics["drop_bpb_without_rope"]
    records = [json.loads(line) for line in branch.bytes("metrics.jsonl").splitlines()]
    assert [record["step"] for record in records if "validation_bpb" in record] == list(range(10, 21))
    recovery = read_recovery(branch.folder)
    assert recovery is not None
    assert (recovery.drop_step, recovery.with_rope) == (10, trunk.metrics["validation_bpb"])
    assert [point.steps for point in recovery.points] == list(range(11))
    assert recovery.points[-1].bits_per_byte == branch.metrics["validation_bpb"]
    assert recovery.sample_size
    assert f"{branch.metrics['drop_bpb_with_rope']:.3f}" in branch.bytes("recovery.svg").decode()
    rates = [record["rate_multiplier"] for record in records if "loss" in record]
    trunk_records = [json.loads(line) for line in base.bytes("metrics.jsonl").splitlines()]
    assert rates == [record["rate_multiplier"] for record in trunk_records if "loss" in record][10:]


def test_dropping_positions_changes_the_model_from_its_first_update(
    base: Any, train: Train, segment: TrainingIdentity
) -> None:
    trunk = train("trunk", "pretrain", replace(segment, end_step=10))
    one = replace(segment, first_step=10, end_step=11)
    with_rope = train("with", "pretrain", one, parent=trunk.folder)
    without = train("without", "recalibrate", replace(one, use_rope=False), parent=trunk.folder)
    assert with_rope.bytes("loss.jsonl") != without.bytes("loss.jsonl")
    name = "transformer.h.0.attn.c_q.weight"
    weights = [load_file(made.folder / "model.safetensors")[name] for made in (with_rope, without)]
    assert not weights[0].equal(weights[1])


def test_measuring_the_drop_leaves_no_trace_in_the_model(
    train: Train, segment: TrainingIdentity, runtime: Runtime
) -> None:
    trunk = train("trunk", "pretrain", replace(segment, end_step=10))
    rest = replace(segment, first_step=10, use_rope=False)
    measured = train("measured", "recalibrate", rest, parent=trunk.folder)
    rarely = replace(runtime, evaluate_steps=1000)
    plain = train("plain", "pretrain", rest, parent=trunk.folder, runtime=rarely)
    assert measured.bytes("model.safetensors") == plain.bytes("model.safetensors")


@pytest.mark.parametrize(("steps", "interval"), [(8000, 25), (225, 25), (150, 18), (9, 1), (1, 1)])
def test_recovery_is_measured_every_25_steps_and_in_short_runs_at_eight_points(steps: int, interval: int) -> None:
    assert recovery_interval(steps) == interval


def test_recalibrating_with_positions_is_refused(train: Train, segment: TrainingIdentity) -> None:
    with pytest.raises(StageError, match="its identity has use_rope true"):
        train("run", "recalibrate", segment)
