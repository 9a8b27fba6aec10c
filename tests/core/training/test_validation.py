"""Validation counts what it should, can be interrupted between batches, and gives the model back as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from core.data.rows import Rows
from core.evaluation.bits_per_byte import bits_per_byte
from core.model.checkpoint import load_model
from core.model.rope_switch import positions
from core.stages.context import StageError
from core.training.batches import open_mixture
from core.training.distributed import World
from core.training.micro_batch import MicroBatch
from core.training.stopping import Stopped, StopRequest
from core.training.validation import Validation

ALONE = World(0, 1, torch.device("cpu"))


def held_out(inputs: Any, tokens: int) -> Validation:
    folders = inputs.pretraining
    return Validation.of(
        Rows.open(folders["validation"]), None, folders["tokenizer"], tokens=tokens, micro_batch=MicroBatch(4)
    )


@pytest.mark.parametrize(("tokens", "rows"), [(1, 1), (6 * 16 + 15, 6), (10**9, 11)])
def test_whole_rows_up_to_the_budget_are_measured(base: Any, inputs: Any, tokens: int, rows: int) -> None:
    model = load_model(base.folder)
    validation = held_out(inputs, tokens)
    expected = bits_per_byte(model, validation.rows[:rows], validation.token_bytes)
    assert validation.bits_per_byte(model, ALONE, StopRequest()) == pytest.approx(expected, rel=1e-6)
    assert validation.bytes == validation.tally(model, ALONE, StopRequest()).bytes


def test_a_request_to_stop_ends_the_measuring(base: Any, inputs: Any) -> None:
    with pytest.raises(Stopped, match="SIGTERM"):
        held_out(inputs, 1000).bits_per_byte(load_model(base.folder), ALONE, StopRequest("SIGTERM"))


def test_positions_come_back_after_a_look_without_them(base: Any, inputs: Any) -> None:
    model = load_model(base.folder)
    measured = held_out(inputs, 1000).bits_per_byte(model, ALONE, StopRequest())
    with positions(model, use_rope=False):
        assert held_out(inputs, 1000).bits_per_byte(model, ALONE, StopRequest()) > measured
    assert model.use_rope is True


def test_rows_that_supervise_nothing_are_refused_before_training_begins(inputs: Any) -> None:
    rows, mask = open_mixture(inputs.finetuning["mixture"], "validation")
    with pytest.raises(StageError, match="hold no supervised token"):
        Validation.of(
            rows, np.zeros_like(mask), inputs.finetuning["tokenizer"], tokens=1000, micro_batch=MicroBatch(16)
        )
