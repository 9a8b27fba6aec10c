"""The chunked loss against torch's own cross-entropy; masked rows never produce NaN."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.model import loss
from core.model.architecture import Architecture
from core.model.loss import IGNORED, next_token_loss, next_token_nats, split_rows
from core.model.transformer import Transformer

Build = Callable[..., Transformer]


@pytest.fixture(params=[1, 7 * 50, 1 << 20], ids=["a row at a time", "uneven chunks", "one chunk"])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three chunk sizes for 24 rows of 50 logits."""
    monkeypatch.setitem(loss.CHUNK_LOGITS, "cpu", request.param)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randint(0, 50, (2, 2, 12), generator=generator)
    targets[:, ::3] = IGNORED
    return inputs, targets


@pytest.mark.usefixtures("chunk")
def test_loss_and_gradients_equal_those_of_the_plain_formula(build: Build, toy: Architecture) -> None:
    model = build(toy)
    inputs, targets = batch()
    plain = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum") / 7
    expected = torch.autograd.grad(2 * plain, list(model.parameters()))
    chunked = next_token_loss(model, inputs, targets, scale=1 / 7)
    found = torch.autograd.grad(2 * chunked, list(model.parameters()))
    torch.testing.assert_close(chunked, plain)
    for name, ours, theirs in zip(model.state_dict(), found, expected, strict=True):
        assert (ours - theirs).norm() < 1e-5 * theirs.norm(), name


@pytest.mark.usefixtures("chunk")
def test_nats_of_each_target_equal_the_plain_formula_and_are_zero_where_ignored(
    build: Build, toy: Architecture
) -> None:
    model = build(toy)
    inputs, targets = batch()
    plain = F.cross_entropy(model(inputs).mT, targets, ignore_index=IGNORED, reduction="none")
    nats = next_token_nats(model, inputs, targets)
    torch.testing.assert_close(nats, plain)
    assert not nats[targets == IGNORED].any()


def test_a_batch_without_supervised_tokens_costs_nothing_and_moves_nothing(build: Build, toy: Architecture) -> None:
    model = build(toy)
    inputs, targets = batch()
    value = next_token_loss(model, inputs, torch.full_like(targets, IGNORED), scale=1.0)
    value.backward()
    assert value.item() == 0
    assert all(not parameter.grad.any() for parameter in model.parameters())


def test_rows_split_into_inputs_and_shifted_targets_masked_where_the_target_is() -> None:
    inputs, targets = split_rows(np.array([[1, 2, 3, 4]], dtype=np.uint16), np.array([[1, 0, 1, 0]], dtype=np.uint8))
    assert inputs.tolist() == [[1, 2, 3]]
    assert targets.tolist() == [[IGNORED, 3, IGNORED]]
