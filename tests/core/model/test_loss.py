"""The chunked loss against torch's own cross-entropy and float64, on both ways; masked rows never produce NaN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

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
    monkeypatch.setitem(loss.CHUNK_MATH, "cpu", replace(loss.CHUNK_MATH["cpu"], logits=request.param))


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


@pytest.fixture(
    params=[
        loss.chunk_in_place,
        loss.chunk_fused,
        pytest.param(loss.compiled(loss.chunk_fused), marks=pytest.mark.slow),
    ],
    ids=["in place", "fused", "compiled"],
)
def chunk_math(request: pytest.FixtureRequest) -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """The ways to a chunk's nats and gradient: the CPU's, and the GPU's as written and as compiled."""
    return request.param


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2**-8)])
def test_a_chunk_equals_float64(
    chunk_math: Callable[..., tuple[torch.Tensor, torch.Tensor]], dtype: torch.dtype, tolerance: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (8 * torch.randn(12, 300, generator=generator)).to(dtype)
    targets = torch.randint(0, 300, (12,), generator=generator)
    targets[::5] = IGNORED
    logits[1, targets[1]] = 200.0  # a confident row: the softcap is flat here, and softmax - 1 nearly cancels
    exact = logits.double().requires_grad_()
    capped = 15.0 * torch.tanh(exact / 15.0)
    expected = F.cross_entropy(capped, targets, ignore_index=IGNORED, reduction="none")
    expected.sum().backward()
    nats, gradient = chunk_math(logits.clone(), targets, 15.0)
    assert (nats.dtype, gradient.dtype) == (torch.float32, dtype)
    torch.testing.assert_close(nats.double(), expected.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient.double(), exact.grad, rtol=tolerance, atol=1e-7)
    assert not gradient[::5].any()


def test_a_chunk_that_supervises_nothing_costs_nothing_and_has_no_gradient(
    chunk_math: Callable[..., tuple[torch.Tensor, torch.Tensor]],
) -> None:
    logits = torch.full((12, 300), 1e30, dtype=torch.bfloat16)
    nats, gradient = chunk_math(logits, torch.full((12,), IGNORED), 15.0)
    assert not nats.any()
    assert not gradient.any()


def test_the_gradient_of_lm_head_adds_up_in_float32_over_chunks(
    build: Build, toy: Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = torch.zeros(100, 13, dtype=torch.int64)  # 1,200 equal chunks: a sum in bfloat16 stops growing at 256
    gradients = []
    for logits in (1, 1 << 20):
        monkeypatch.setitem(loss.CHUNK_MATH, "cpu", replace(loss.CHUNK_MATH["cpu"], logits=logits))
        model = build(toy)
        model.transformer.wte.to(torch.bfloat16)
        next_token_loss(model, tokens[:, :-1], tokens[:, 1:], scale=1.0).backward()
        gradients.append(model.lm_head.weight.grad)
    one_by_one, at_once = gradients
    assert one_by_one.dtype == torch.float32
    assert (one_by_one - at_once).norm() < 0.01 * at_once.norm()


def test_rows_split_into_inputs_and_shifted_targets_masked_where_the_target_is() -> None:
    inputs, targets = split_rows(np.array([[1, 2, 3, 4]], dtype=np.uint16), np.array([[1, 0, 1, 0]], dtype=np.uint8))
    assert inputs.tolist() == [[1, 2, 3]]
    assert targets.tolist() == [[IGNORED, 3, IGNORED]]
