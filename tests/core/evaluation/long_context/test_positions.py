"""Buckets, their sums and their intervals."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from long_context_bench import TRAINED

from core.data.tokenizer import Tokenizer
from core.evaluation.bits_per_byte import tally_rows
from core.evaluation.long_context.logit_scale_fit import GRID, LogitScaleFit
from core.evaluation.long_context.methods import Method
from core.evaluation.long_context.positions import BucketRecord, bits_per_byte, bucket_edges, measure_texts
from core.evaluation.long_context.reading import new_cache
from core.evaluation.long_context.workload import FITTING_TRIES
from core.model.position_scaling import LogitScale
from core.model.transformer import Transformer

Build = Callable[..., Transformer]


@given(st.integers(8, 10_000), st.sampled_from([1, 2, 3, 4, 8]))
def test_buckets_cover_every_position_once_and_none_crosses_the_trained_length(trained: int, factor: int) -> None:
    edges = bucket_edges(trained, factor * trained)
    assert edges[0] == 0
    assert edges[-1] == factor * trained
    assert edges == sorted(set(edges))
    assert trained in edges


def some_rows(factor: int, count: int) -> np.ndarray:
    return np.random.default_rng(factor).integers(0, 258, (count, factor * TRAINED + 1))  # 256 and 257 are special


def test_the_buckets_of_a_text_add_up_to_its_bits_per_byte(build: Build, tokenizer: Tokenizer) -> None:
    model, rows = build(True), some_rows(4, 3)
    records = measure_texts(model, rows, tokenizer.token_bytes, TRAINED, "plain")
    whole = tally_rows(model, rows, tokenizer.token_bytes)
    assert sum(one.bytes for one in records) == whole.bytes
    assert sum(one.tokens for one in records) == whole.tokens
    assert sum(one.nats for one in records) == pytest.approx(whole.nats, rel=1e-4)
    result = bits_per_byte(records, seed=0)
    assert result is not None
    assert result.value == pytest.approx(whole.bits_per_byte, rel=1e-4)
    assert result.interval is not None
    assert result.interval[0] <= result.value <= result.interval[1]


def record(text: int, nats: float, size: int) -> BucketRecord:
    return BucketRecord(method="plain", factor=1, text=text, first=0, end=8, nats=nats, bytes=size, tokens=size)


def test_an_interval_is_that_of_drawing_texts_again() -> None:
    records = [record(text, nats, 10) for text, nats in enumerate([5.0, 7.0, 9.0, 30.0])]
    result = bits_per_byte(records, seed=3)
    assert result is not None
    assert result.value == pytest.approx(51 / 40 / log(2))
    drawn = np.random.default_rng(0).choice([5.0, 7.0, 9.0, 30.0], (20_000, 4)).sum(axis=1) / 40 / log(2)
    assert result.interval == pytest.approx(np.percentile(drawn, (2.5, 97.5)), rel=0.1)
    assert result == bits_per_byte(records, seed=3)


def test_one_text_has_no_interval_and_no_bytes_have_no_number() -> None:
    one = bits_per_byte([record(0, 5.0, 10)], seed=0)
    assert one is not None
    assert one.interval is None
    assert bits_per_byte([record(0, 0.0, 0)], seed=0) is None


@torch.no_grad()
def test_the_fitted_scale_is_the_best_of_what_was_tried_and_no_worse_than_none(
    build: Build, tokenizer: Tokenizer
) -> None:
    model, rows = build(False), some_rows(4, 2)
    fit = LogitScaleFit(model, rows, tokenizer.token_bytes, TRAINED).search()
    tried = {one.coefficient: one.bits_per_byte for one in fit.tried}
    assert set(GRID) <= set(tried)
    assert len(tried) <= FITTING_TRIES
    assert tried[fit.scale.coefficient] == min(tried.values()) <= tried[0.0]
    with Method("again", LogitScale(coefficient=fit.scale.coefficient, trained_length=TRAINED)).applied(model):
        records = measure_texts(model, rows, tokenizer.token_bytes, TRAINED, "again")
    beyond = [one for one in records if one.first >= TRAINED]
    result = bits_per_byte(beyond, seed=0)
    assert result is not None
    assert result.value == pytest.approx(tried[fit.scale.coefficient], rel=1e-6)
    assert fit.bytes == sum(one.bytes for one in beyond)


@pytest.mark.parametrize("written_with", [0.0, 0.6])
@torch.no_grad()
def test_the_scale_that_a_text_was_written_with_is_found_again(
    build: Build, tokenizer: Tokenizer, written_with: float
) -> None:
    """What a model draws from its own probabilities is predicted best as it was drawn."""
    model, generator = build(False), torch.Generator().manual_seed(0)
    for block in model.transformer.h:
        block.attn.c_v.weight.mul_(6)  # so that attention decides what comes
    rows = torch.randint(0, 256, (24, 1), generator=generator)
    with Method("writing", LogitScale(coefficient=written_with, trained_length=TRAINED)).applied(model):
        cache = new_cache(model, len(rows), 4 * TRAINED)
        for _ in range(4 * TRAINED):
            logits = model(rows[:, -1:], cache.window(0, [1] * len(rows)))[:, -1, :256]
            rows = torch.cat((rows, torch.multinomial(logits.softmax(-1), 1, generator=generator)), dim=1)
    fit = LogitScaleFit(model, rows.numpy(), tokenizer.token_bytes, TRAINED).search()
    assert fit.scale.coefficient == pytest.approx(written_with, abs=0.15)
