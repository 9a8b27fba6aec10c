"""What a step does when something is wrong with it: spikes, and too little memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from artifacts.encoding import canonical
from core.recipes.optimization import SpikePolicy
from core.stages.context import Interrupted, StageError
from core.stages.identity import TrainingIdentity
from core.stages.runtime import Runtime

Train = Callable[..., Any]
Launch = Callable[..., Any]
Large = Callable[[int, int], tuple[TrainingIdentity, dict[str, Path]]]
EXACT = ("model.safetensors", "optimizer.safetensors", "state.json", "loss.jsonl", "loss.svg")


def with_policy(segment: TrainingIdentity, **policy: Any) -> TrainingIdentity:
    return replace(segment, optimization=replace(segment.optimization, spike_policy=SpikePolicy(**policy)))


def records(trained: Any) -> list[dict[str, float]]:
    return [json.loads(line) for line in trained.bytes("metrics.jsonl").splitlines()]


def largest_norm(trained: Any) -> float:
    return max(record["gradient_norm"] for record in records(trained) if "gradient_norm" in record)


def test_a_norm_above_the_recipes_limit_stops_the_run_with_its_last_good_state(
    base: Any, train: Train, segment: TrainingIdentity, tmp_path: Path
) -> None:
    limit = 0.999 * largest_norm(base)
    with pytest.raises(
        StageError, match=r"the gradient norm is [\d.]+ at step (\d+) \(rows [\d,]+ to [\d,]+\)"
    ) as stop:
        train("run", "pretrain", with_policy(segment, action="stop", gradient_norm=limit))
    assert "\n" not in str(stop.value)
    [kept] = (tmp_path / "run" / "checkpoints").iterdir()
    assert f"at step {int(kept.name)} " in str(stop.value)
    with pytest.raises(StageError) as again:  # and does not save the same state again, which would drive out an older
        train("run", "pretrain", with_policy(segment, action="stop", gradient_norm=limit))
    assert str(again.value) == str(stop.value)


def test_skipping_leaves_the_state_as_it_was_and_is_recorded(train: Train, segment: TrainingIdentity) -> None:
    first = train("first", "pretrain", replace(segment, end_step=5))
    limited = with_policy(replace(segment, first_step=5, end_step=6), action="skip", gradient_norm=1e-9)
    skipped = train("skipped", "pretrain", limited, parent=first.folder)
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert skipped.bytes(name) == first.bytes(name), name
    assert skipped.metrics["skipped_updates"] == 1
    assert "this update is skipped" in skipped.log


def test_a_run_that_skips_resumes_to_the_same_bits(base: Any, train: Train, segment: TrainingIdentity) -> None:
    identity = with_policy(segment, action="skip", gradient_norm=0.999 * largest_norm(base))
    undisturbed = train("undisturbed", "pretrain", identity)
    assert undisturbed.metrics["skipped_updates"] > 0
    assert undisturbed.bytes("model.safetensors") != base.bytes("model.safetensors")
    with pytest.raises(Interrupted):
        train("run", "pretrain", identity, signal_at=9)
    resumed = train("run", "pretrain", identity)
    for name in EXACT:
        assert resumed.bytes(name) == undisturbed.bytes(name), name


def test_too_many_skips_in_a_row_stop_the_run_interrupted_or_not(train: Train, segment: TrainingIdentity) -> None:
    with pytest.raises(Interrupted):
        train("run", "pretrain", with_policy(segment, action="skip", gradient_norm=1e-9), signal_at=4)
    with pytest.raises(StageError, match=r"at step 10 .*; 10 updates before it were skipped in a row"):
        train("run", "pretrain", with_policy(segment, action="skip", gradient_norm=1e-9))


def plant_nan(trained: Any, tokens: slice) -> None:
    path = trained.folder / "model.safetensors"
    weights = load_file(path)
    weights["transformer.wte.weight"][tokens] = float("nan")
    save_file(weights, path)


def test_a_skipped_loss_that_is_not_finite_is_recorded_as_skipped_and_not_as_a_number(
    train: Train, segment: TrainingIdentity
) -> None:
    first = train("first", "pretrain", replace(segment, end_step=5))
    plant_nan(first, slice(15, 16))  # a token of steps 5 and 6, and of no validation row
    skipping = with_policy(replace(segment, first_step=5, end_step=7), action="skip")
    later = train("later", "pretrain", skipping, parent=first.folder)
    assert later.metrics["skipped_updates"] == 2
    assert later.metrics["final_loss"] is None
    assert canonical(later.metrics)  # an outcome has no way to write a NaN
    assert later.bytes("loss.jsonl") == b""
    assert b"NaN" not in later.bytes("metrics.jsonl")
    assert b"nan" not in later.bytes("loss.svg")


def test_a_model_whose_validation_is_not_finite_becomes_no_artifact(train: Train, segment: TrainingIdentity) -> None:
    first = train("first", "pretrain", replace(segment, end_step=5))
    plant_nan(first, slice(None))
    skipping = with_policy(replace(segment, first_step=5, end_step=7), action="skip")
    with pytest.raises(StageError, match="toy: validation_bpb is nan at step 7"):
        train("later", "pretrain", skipping, parent=first.folder)


def test_a_policy_that_never_acts_changes_no_bit(base: Any, train: Train, segment: TrainingIdentity) -> None:
    watched = train("run", "pretrain", with_policy(segment, action="skip", gradient_norm=1e9))
    for name in ("model.safetensors", "optimizer.safetensors", "loss.jsonl"):
        assert watched.bytes(name) == base.bytes(name), name


@pytest.mark.slow
def test_running_out_of_memory_halves_the_micro_batch_and_says_so(
    launch: Launch, large: Large, runtime: Runtime, tmp_path: Path
) -> None:
    rows = 512
    identity, folders = large(rows, 256)
    identity = replace(identity, end_step=1)  # in a later step memory may run out once more, and none is as `told`'s
    whole = replace(runtime, micro_batch_rows=rows)
    poor = launch("poor", "pretrain", identity, folders=folders, runtime=whole, memory=1 << 29)
    assert poor.returncode == 0, poor.stderr
    assert f"out of memory with micro-batches of {rows} rows: going on with {rows // 2}" in poor.stdout
    found = json.loads((tmp_path / "poor" / "metrics.json").read_text())["micro_batch_rows"]
    assert 1 <= found < rows
    told = launch("told", "pretrain", identity, folders=folders, runtime=replace(runtime, micro_batch_rows=found))
    assert told.returncode == 0, told.stderr
    for name in EXACT:
        assert (tmp_path / "poor/output" / name).read_bytes() == (tmp_path / "told/output" / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("rows", [512, 511])  # shares of 256 rows each; of 255 and 256, whose halves differ
def test_ranks_back_off_together_when_one_of_them_runs_out_of_memory(
    launch: Launch, large: Large, runtime: Runtime, tmp_path: Path, rows: int
) -> None:
    identity, folders = large(rows, 256)
    whole = replace(runtime, micro_batch_rows=rows)
    poor = launch("poor", "pretrain", identity, folders=folders, runtime=whole, memory=1 << 29, ranks=2)
    assert poor.returncode == 0, poor.stderr
    assert "going on with" in poor.stdout
    weights = load_file(tmp_path / "poor/output/model.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())


@pytest.mark.slow
def test_a_single_row_that_does_not_fit_is_one_line(launch: Launch, large: Large, runtime: Runtime) -> None:
    identity, folders = large(1, 131_072)
    none = launch("none", "pretrain", identity, folders=folders, runtime=runtime, memory=1 << 28)
    assert none.returncode == 1
    assert "out of memory with a single row of 131,072 tokens" in none.stderr.splitlines()[-1]
