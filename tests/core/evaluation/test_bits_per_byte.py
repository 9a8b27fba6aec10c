"""Bits per byte counts nats and bytes of real text only."""

from __future__ import annotations

from math import isnan, log

import numpy as np
import pytest
import torch

from core.evaluation.bits_per_byte import Tally, bits_per_byte, tally_rows
from core.model.architecture import Architecture
from core.model.transformer import Transformer

VOCABULARY = 24
SPECIAL = 23
TOKEN_BYTES = np.array([1 + token % 5 for token in range(SPECIAL)] + [0], dtype=np.int32)
ROWS = np.random.default_rng(0).integers(0, VOCABULARY, (7, 9)).astype(np.uint16)


@pytest.fixture
def model() -> Transformer:
    """A model that has learned nothing: lm_head is zero, so every token has log V nats."""
    architecture = Architecture(
        depth=1,
        width=16,
        heads=2,
        key_value_heads=2,
        head_width=8,
        mlp="relu2",
        mlp_width=32,
        vocabulary_size=VOCABULARY,
        sequence_length=8,
        rope_base=10_000.0,
        logit_softcap=15.0,
        norm_epsilon=1e-6,
        normalize_embedding=True,
    )
    fresh = Transformer(architecture)
    fresh.initialize(0)
    return fresh


def test_a_uniform_guess_costs_log_v_for_every_token_that_stands_for_bytes(model: Transformer) -> None:
    targets = ROWS[:, 1:]
    counted = targets != SPECIAL
    tally = tally_rows(model, ROWS, TOKEN_BYTES, batch_rows=3)
    assert tally.tokens == counted.sum()
    assert tally.bytes == TOKEN_BYTES[targets].sum()
    assert tally.nats == pytest.approx(log(VOCABULARY) * counted.sum())
    expected = log(VOCABULARY) * counted.sum() / (log(2) * TOKEN_BYTES[targets].sum())
    assert bits_per_byte(model, ROWS, TOKEN_BYTES) == pytest.approx(expected)


def test_masked_targets_count_for_neither_nats_nor_bytes(model: Transformer) -> None:
    mask = np.random.default_rng(1).integers(0, 2, ROWS.shape).astype(np.uint8)
    counted = (mask[:, 1:] == 1) & (ROWS[:, 1:] != SPECIAL)
    tally = tally_rows(model, ROWS, TOKEN_BYTES, mask=mask)
    assert tally.tokens == counted.sum()
    assert tally.bytes == TOKEN_BYTES[ROWS[:, 1:][counted]].sum()


def test_the_measure_does_not_depend_on_how_rows_are_batched_or_shared_out(model: Transformer) -> None:
    torch.nn.init.normal_(model.lm_head.weight, std=0.3)
    whole = tally_rows(model, ROWS, TOKEN_BYTES)
    parts = tally_rows(model, ROWS[:2], TOKEN_BYTES) + tally_rows(model, ROWS[2:], TOKEN_BYTES, batch_rows=2)
    assert (parts.bytes, parts.tokens) == (whole.bytes, whole.tokens)
    assert parts.bits_per_byte == pytest.approx(whole.bits_per_byte, rel=1e-6)


def test_rows_without_any_byte_have_no_measure(model: Transformer) -> None:
    assert isnan(bits_per_byte(model, np.full((2, 9), SPECIAL), TOKEN_BYTES))
    assert isnan(Tally().bits_per_byte)
