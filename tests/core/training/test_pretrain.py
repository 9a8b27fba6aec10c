"""A chain of segments is one run; what a segment writes, what it refuses, and what cannot change it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from core.evaluation.bits_per_byte import bits_per_byte
from core.model.checkpoint import load_model, load_state
from core.stages.context import StageError
from core.stages.identity import TrainingIdentity
from core.stages.runtime import Runtime

Train = Callable[..., Any]
EXACT = ("model.safetensors", "optimizer.safetensors", "state.json")


def test_a_run_learns_and_leaves_every_file_of_the_contract(base: Any) -> None:
    names = ["loss.jsonl", "loss.svg", "metrics.jsonl", "model.safetensors", "optimizer.safetensors", "state.json"]
    assert sorted(path.name for path in base.folder.iterdir()) == names
    losses = [json.loads(line) for line in base.bytes("loss.jsonl").splitlines()]
    assert [record["step"] for record in losses] == list(range(20))
    assert losses[0]["loss"] == pytest.approx(log(96), abs=0.01)
    assert losses[-1]["loss"] < 0.6 * losses[0]["loss"]
    records = [json.loads(line) for line in base.bytes("metrics.jsonl").splitlines()]
    assert [record["step"] for record in records if "validation_bpb" in record] == [8, 16, 20]
    assert {"loss", "rate_multiplier", "gradient_norm", "tokens_per_second"} < set(records[0])
    assert base.metrics["steps"] == 20
    assert base.metrics["tokens"] == 20 * 6 * 16
    assert base.metrics["final_loss"] == losses[-1]["loss"]
    assert base.metrics["epochs"] == 20 * 6 / 80  # the stream has 80 rows, so it wrapped around
    assert '"unit": "steps", "text": "loss' in base.log
    [line] = [line for line in base.log.splitlines() if "step 12/20: loss" in line]
    for part in ("validation bpb", "rate x", "gradient norm", "tokens/s", "GB", "left"):
        assert part in line, line


def test_the_state_says_how_far_the_model_is_and_how_it_was_made(base: Any, segment: TrainingIdentity) -> None:
    state = load_state(base.folder)
    assert (state.phase, state.step, state.steps, state.tokens_seen) == ("base", 20, 20, 1920)
    assert (state.use_rope, state.sequence_length) == (True, 16)
    assert (state.architecture, state.optimization) == (segment.architecture, segment.optimization)


def test_the_reported_validation_is_that_of_the_saved_model(base: Any, inputs: Any) -> None:
    rows = np.fromfile(inputs.pretraining["validation"] / "rows.bin", dtype="<u1").reshape(-1, 17)[:6]
    token_bytes = np.load(inputs.pretraining["tokenizer"] / "token_bytes.npy")
    measured = bits_per_byte(load_model(base.folder), rows, token_bytes)
    assert base.metrics["validation_bpb"] == pytest.approx(measured, rel=1e-6)


def test_a_chain_of_segments_equals_one_run_bit_by_bit(base: Any, train: Train, segment: TrainingIdentity) -> None:
    parent, losses = None, b""
    for first, end in ((0, 5), (5, 10), (10, 15), (15, 20)):
        part = train(f"part-{end}", "pretrain", replace(segment, first_step=first, end_step=end), parent=parent)
        parent, losses = part.folder, losses + part.bytes("loss.jsonl")
    assert losses == base.bytes("loss.jsonl")
    for name in EXACT:
        assert part.bytes(name) == base.bytes(name), name


def test_measuring_more_often_leaves_no_trace_in_the_model(
    base: Any, train: Train, segment: TrainingIdentity, runtime: Runtime
) -> None:
    watched = train("watched", "pretrain", segment, runtime=replace(runtime, evaluate_steps=1, validation_batches=1))
    for name in (*EXACT, "loss.jsonl"):
        assert watched.bytes(name) == base.bytes(name), name


@pytest.mark.parametrize("rows", [1, 4])
def test_the_micro_batch_changes_only_the_order_of_additions(
    train: Train, segment: TrainingIdentity, runtime: Runtime, rows: int
) -> None:
    short = replace(segment, end_step=5)
    whole = train("whole", "pretrain", short)
    split = train("split", "pretrain", short, runtime=replace(runtime, micro_batch_rows=rows))
    assert split.metrics["micro_batch_rows"] == rows
    expected = load_file(whole.folder / "model.safetensors")
    for name, tensor in load_file(split.folder / "model.safetensors").items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-4)


def test_bf16_keeps_its_dtypes_through_a_chain_and_learns(train: Train, segment: TrainingIdentity) -> None:
    narrow = replace(segment, precision="bf16")
    whole = train("whole", "pretrain", narrow)
    first = train("first", "pretrain", replace(narrow, end_step=10))
    second = train("second", "pretrain", replace(narrow, first_step=10), parent=first.folder)
    for name in EXACT:
        assert second.bytes(name) == whole.bytes(name), name
    weights = load_file(whole.folder / "model.safetensors")
    assert weights["transformer.wte.weight"].dtype == torch.bfloat16
    assert weights["lm_head.weight"].dtype == torch.float32
    assert whole.metrics["final_loss"] < 0.7 * log(96)


def test_gradient_clipping_bounds_the_step(train: Train, segment: TrainingIdentity) -> None:
    short = replace(segment, end_step=2)
    clipped = replace(short, optimization=replace(short.optimization, gradient_clip=1e-3))
    norms = []
    for name, identity in (("free", short), ("clipped", clipped)):
        state = load_file(train(name, "pretrain", identity).folder / "optimizer.safetensors")
        norms.append(state["lm_head.weight.first_moment"].norm().item())
    assert 0 < norms[1] < 1e-3 < norms[0]


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("transformer.h.0.mlp.w_gate.weight", 3e38, ["000005"]),  # finite weights that overflow
        ("transformer.wte.weight", float("nan"), []),  # nothing worth keeping
    ],
)
def test_a_loss_that_is_not_finite_stops_before_the_update_and_names_step_rank_and_rows(
    train: Train, segment: TrainingIdentity, runtime: Runtime, tmp_path: Path, name: str, value: float, kept: list[str]
) -> None:
    first = train("first", "pretrain", replace(segment, end_step=5))
    damaged = load_file(first.folder / "model.safetensors")
    damaged[name][:] = value
    save_file(damaged, first.folder / "model.safetensors")
    message = (
        r"the loss is (nan|inf) at step 5 \(rank 0, the micro-batch that begins at row 30\); stopped before the update"
    )
    with pytest.raises(StageError, match=message):
        train(
            "later",
            "pretrain",
            replace(segment, first_step=5),
            parent=first.folder,
            runtime=replace(runtime, micro_batch_rows=3),
        )
    checkpoints = sorted((tmp_path / "later").glob("checkpoints/*"))
    assert [path.name for path in checkpoints] == kept
    for path in checkpoints:
        assert (path / "optimizer.safetensors").read_bytes() == first.bytes("optimizer.safetensors")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"first_step": 6}, r"ends at step 5, but this segment begins at 6"),
        ({"first_step": 5, "batch_tokens": 100}, r"a batch of 100 tokens is not a whole number of rows of 16"),
    ],
)
def test_a_segment_that_cannot_be_trained_is_refused_in_one_line(
    train: Train, segment: TrainingIdentity, changes: dict[str, Any], message: str
) -> None:
    first = train("first", "pretrain", replace(segment, end_step=5))
    with pytest.raises(StageError, match=message) as refusal:
        train("next", "pretrain", replace(segment, **changes), parent=first.folder)
    assert "\n" not in str(refusal.value)


def test_a_parent_of_another_architecture_is_refused(train: Train, segment: TrainingIdentity) -> None:
    first = train("first", "pretrain", replace(segment, end_step=5))
    other = replace(segment, first_step=5, architecture=replace(segment.architecture, rope_base=10_000.0))
    with pytest.raises(StageError, match="holds another architecture"):
        train("next", "pretrain", other, parent=first.folder)
