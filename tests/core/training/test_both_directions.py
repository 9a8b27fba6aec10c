"""A model that reads in both directions: measured in each on the same documents, and continued to the same bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.data.rows import Rows, RowsWriter
from core.evaluation.bits_per_byte import bits_per_byte, tally_rows
from core.model.checkpoint import load_model, load_state
from core.stages.context import Interrupted, StageError
from core.stages.identity import TrainingIdentity

EXACT = ("model.safetensors", "optimizer.safetensors", "state.json", "loss.jsonl", "loss.svg")
WAYS = ("validation_bpb_forward", "validation_bpb_backward")
VOCABULARY, LENGTH = 96, 16


@pytest.fixture
def folders(inputs: Any, tmp_path: Path) -> dict[str, Path]:
    """The toy stream, and 11 validation rows with the same ones from their ends."""
    rows = Rows.open(inputs.pretraining["validation"])[:]
    folder = tmp_path / "each"
    folder.mkdir()
    for name, matrix in (("forward.rows", rows), ("backward.rows", rows[:, ::-1])):
        with RowsWriter(folder, name, LENGTH + 1, VOCABULARY) as writer:
            writer.append(matrix)
    return {**inputs.pretraining, "validation": folder}


@pytest.fixture
def both_ways(segment: TrainingIdentity) -> TrainingIdentity:
    return replace(segment, direction="bidirectional")


@pytest.fixture
def run_both(folders: dict[str, Path], train_in: Callable[..., Any]) -> Callable[..., Any]:
    """`run_both(name, producer, identity, ...)` trains with the validation rows of both directions."""
    return lambda name, producer, identity, **options: train_in(name, producer, identity, folders, **options)


def test_bits_per_byte_are_those_of_each_direction_and_of_all_bytes_together(
    both_ways: TrainingIdentity, folders: dict[str, Path], run_both: Callable[..., Any]
) -> None:
    trained = run_both("run", "pretrain", both_ways)
    model, token_bytes = load_model(trained.folder), np.load(folders["tokenizer"] / "token_bytes.npy")
    ahead, behind = (Rows.open(folders["validation"], f"{way}.rows")[0:6] for way in ("forward", "backward"))
    metrics = trained.metrics
    assert metrics[WAYS[0]] == pytest.approx(bits_per_byte(model, ahead, token_bytes), rel=1e-6)
    assert metrics[WAYS[1]] == pytest.approx(bits_per_byte(model, behind, token_bytes), rel=1e-6)
    assert metrics[WAYS[0]] < metrics[WAYS[1]], "rows that count up were learnt, rows that count down were never seen"
    together = tally_rows(model, ahead, token_bytes) + tally_rows(model, behind, token_bytes)
    assert metrics["validation_bpb"] == pytest.approx(together.bits_per_byte, rel=1e-6)
    assert load_state(trained.folder).direction == "bidirectional"


def test_a_run_interrupted_and_continued_equals_an_undisturbed_one_in_both_directions(
    both_ways: TrainingIdentity, run_both: Callable[..., Any]
) -> None:
    undisturbed = run_both("undisturbed", "pretrain", both_ways)
    with pytest.raises(Interrupted):
        run_both("run", "pretrain", both_ways, signal_at=9)
    resumed = run_both("run", "pretrain", both_ways)
    assert "continuing at step 9 of 20" in resumed.log
    for name in EXACT:
        assert resumed.bytes(name) == undisturbed.bytes(name), name
    for name in (*WAYS, "validation_bpb"):
        assert resumed.metrics[name] == undisturbed.metrics[name]


def test_a_drop_reports_each_direction_too(both_ways: TrainingIdentity, run_both: Callable[..., Any]) -> None:
    trunk = run_both("trunk", "pretrain", replace(both_ways, end_step=10))
    rest = replace(both_ways, first_step=10, use_rope=False)
    branch = run_both("branch", "recalibrate", rest, parent=trunk.folder)
    assert branch.metrics["drop_bpb_with_rope"] == trunk.metrics["validation_bpb"]
    assert set(WAYS) <= set(branch.metrics)


def test_a_model_of_one_direction_reports_one_number(base: Any) -> None:
    assert not set(WAYS) & set(base.metrics)


def test_validation_rows_of_one_direction_are_refused(both_ways: TrainingIdentity, train: Callable[..., Any]) -> None:
    with pytest.raises(StageError, match=r"holds no packed rows called 'forward.rows'"):
        train("run", "pretrain", both_ways)
