"""Products in 8 bits: as exact as 8 bits allow, in range whatever they hold, and good enough to train on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.model.architecture import Architecture
from core.model.float8 import Float8Linear, quantize, use_float8
from core.model.loss import next_token_loss
from core.model.transformer import Linear, Transformer
from core.recipes.miniseries import family_architecture
from core.stages.context import StageError

Build = Callable[..., Transformer]
E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2


def layer(weight: Tensor) -> Float8Linear:
    """A layer of a given float32 weight [N, K]."""
    made = Float8Linear(weight.size(1), weight.size(0))
    made.weight = torch.nn.Parameter(weight)
    return made


def distance(found: Tensor, expected: Tensor) -> float:
    """Relative L2 distance."""
    return float(((found.double() - expected).norm() / expected.norm()).detach())


def test_the_product_and_both_gradients_equal_float64_within_the_rounding_of_8_bits() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 48, 160, generator=generator).bfloat16().requires_grad_()
    linear = layer(torch.randn(96, 160, generator=generator) / 160**0.5)
    upstream = (1e-9 * torch.randn(4, 48, 96, generator=generator)).bfloat16()
    y = linear(x)
    y.backward(upstream)
    rows, weight, gradient = x.detach().double(), linear.weight.detach().double(), upstream.double()
    assert (y.dtype, x.grad.dtype, linear.weight.grad.dtype) == (torch.bfloat16, torch.bfloat16, torch.float32)
    # one e4m3 operand is off by 2.6 %, one e5m2 operand by 5.3 %: the root mean square over a binade
    assert distance(y, rows @ weight.T) < 0.045
    assert distance(x.grad, gradient @ weight) < 0.07
    assert distance(linear.weight.grad, torch.einsum("btn,btk->nk", gradient, rows)) < 0.07


def test_without_gradients_the_product_is_that_of_bfloat16() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 16, 32, generator=generator).bfloat16()
    weight = torch.randn(48, 32, generator=generator)
    with torch.no_grad():
        assert torch.equal(layer(weight)(x), x @ weight.bfloat16().T)


@settings(max_examples=60)
@given(
    exponent=st.floats(-37, 38),
    values=st.lists(st.floats(-1, 1, width=32), min_size=4, max_size=4),
    dtype=st.sampled_from([E4M3, E5M2]),
)
def test_scales_are_finite_and_values_keep_their_size_whatever_the_range(
    exponent: float, values: list[float], dtype: torch.dtype
) -> None:
    exact = torch.tensor([values]) * 10**exponent
    narrow, unit = quantize(exact, dtype)
    assert unit.isfinite()
    assert unit > 0
    assert narrow.float().isfinite().all()
    largest = exact.abs().max()
    if largest > 1e-30:
        restored = narrow.float() * unit
        assert ((restored - exact).abs() <= 0.126 * exact.abs() + 2e-5 * largest).all()
        assert restored.abs().max() == pytest.approx(largest.item(), rel=1e-6)


def test_zeros_cost_nothing_and_stay_zeros() -> None:
    linear = layer(torch.zeros(32, 16))
    x = torch.zeros(16, 16, dtype=torch.bfloat16, requires_grad=True)
    y = linear(x)
    y.backward(torch.zeros_like(y))
    assert not y.any()
    assert not x.grad.any()
    assert not linear.weight.grad.any()


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_shows_in_the_result(broken: float) -> None:
    x = torch.ones(16, 16, dtype=torch.bfloat16)
    x[3, 5] = broken
    assert not layer(torch.ones(32, 16))(x)[3].isfinite().any()


def test_gradients_read_inputs_kept_at_one_byte_a_value() -> None:
    kept: list[Tensor] = []
    x = torch.randn(64, 32, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        layer(torch.ones(16, 32))(x)
    assert sorted(tensor.nbytes for tensor in kept) == [4, 4, 16 * 32, 64 * 32]


def test_every_matrix_of_the_layers_and_no_other_trains_in_float8_under_its_own_name(toy: Architecture) -> None:
    model, plain = Transformer(toy), Transformer(toy)
    use_float8(model.transformer)
    narrow = [name for name, module in model.named_modules() if isinstance(module, Float8Linear)]
    linear = [name for name, module in plain.named_modules() if isinstance(module, Linear)]
    assert narrow == [name for name in linear if name != "lm_head"]
    assert list(model.state_dict()) == list(plain.state_dict())
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("depth", [18, 20])
def test_all_matrices_of_the_miniseries_fit(depth: int) -> None:
    with torch.device("meta"):
        model = Transformer(family_architecture(depth))
        use_float8(model.transformer)
    assert sum(isinstance(module, Float8Linear) for module in model.modules()) == 7 * depth


def test_a_matrix_whose_sides_are_not_multiples_of_16_is_refused_by_name(toy: Architecture) -> None:
    with pytest.raises(
        StageError, match=r"h\.0\.mlp\.w_gate\.weight is 40 x 32, but both sides must be multiples of 16"
    ):
        use_float8(Transformer(replace(toy, mlp_width=40)).transformer)


def losses_of_training(model: Transformer, steps: int) -> Tensor:
    """Losses of plain gradient steps on rows that count up; the same rows for every model."""
    generator = torch.Generator().manual_seed(3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)
    losses = []
    for _ in range(steps):
        rows = (torch.randint(0, 50, (8, 1), generator=generator) + torch.arange(17)) % 50
        loss = next_token_loss(model, rows[:, :-1], rows[:, 1:], scale=1 / 128)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    return torch.stack(losses)


def test_sixty_steps_in_float8_follow_those_in_bfloat16(build: Build, toy: Architecture) -> None:
    wide, narrow = build(toy), build(toy)
    for model in (wide, narrow):
        model.transformer.wte.to(torch.bfloat16)
    use_float8(narrow.transformer)
    expected, found = losses_of_training(wide, 60), losses_of_training(narrow, 60)
    assert expected[-10:].mean() < 0.3 * expected[0]
    assert ((found - expected).abs() < 0.1 * expected).all()  # seen: 3.5 %
    assert not torch.equal(found, expected)
