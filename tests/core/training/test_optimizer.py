"""Every parameter belongs to one group; the state is a flat dict that comes back bit by bit."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

import pytest
import torch
from optimizer_reference import ReferenceAdamW, ReferenceMuon
from torch import Tensor

from core.model.architecture import Architecture
from core.model.loss import next_token_loss
from core.model.transformer import Transformer
from core.recipes.optimization import AdamW, Optimization
from core.recipes.tiny import ARCHITECTURE as TINY
from core.recipes.tiny import OPTIMIZATION
from core.stages.context import StageError
from core.training.adamw import adamw_step
from core.training.distributed import World
from core.training.optimizer import Optimizer
from core.training.schedule import Rates

TOY = replace(TINY, width=32, heads=2, key_value_heads=1, head_width=16, mlp_width=48, vocabulary_size=64)
ALONE = World(0, 1, torch.device("cpu"))
RATES = Rates(multiplier=1.0, momentum=0.9, weight_decay=0.1)


def fresh(architecture: Architecture = TOY, optimization: Optimization = OPTIMIZATION) -> tuple[Transformer, Optimizer]:
    model = Transformer(architecture)
    model.initialize(1)
    return model, Optimizer(model, optimization, ALONE)


def take_step(model: Transformer, optimizer: Optimizer, seed: int) -> None:
    tokens = torch.randint(0, 64, (2, 9), generator=torch.Generator().manual_seed(seed))
    next_token_loss(model, tokens[:, :-1], tokens[:, 1:], scale=1 / 16).backward()
    optimizer.reduce_gradients()
    optimizer.step(RATES)


def test_a_loaded_state_continues_bit_by_bit() -> None:
    model, optimizer = fresh()
    for seed in range(3):
        take_step(model, optimizer, seed)
    twin, restored = fresh()
    twin.load_state_dict(model.state_dict())
    restored.load({name: tensor.clone() for name, tensor in optimizer.state().items()})
    for seed in range(3, 5):
        take_step(model, optimizer, seed)
        take_step(twin, restored, seed)
    assert all(torch.equal(tensor, twin.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert all(torch.equal(tensor, restored.state()[name]) for name, tensor in optimizer.state().items())


def test_the_state_names_a_parameter_and_a_slot_for_every_parameter() -> None:
    model, optimizer = fresh()
    owners = {name.rpartition(".")[0] for name in optimizer.state()}
    assert owners == set(model.state_dict())
    assert optimizer.state()["transformer.h.1.mlp.c_proj.weight.momentum"].shape == (32, 48)
    assert optimizer.state()["transformer.h.1.mlp.c_proj.weight.second_moment"].shape == (1, 48)
    assert optimizer.state()["transformer.h.1.mlp.w_up.weight.second_moment"].shape == (48, 1)
    plain = replace(OPTIMIZATION, matrices=replace(OPTIMIZATION.matrices, second_moment_beta=None))
    assert "transformer.h.0.attn.c_q.weight.second_moment" not in fresh(optimization=plain)[1].state()


def test_every_parameter_moves_and_gradients_are_dropped() -> None:
    model, optimizer = fresh()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for seed in range(3):  # projections start at zero, so what is behind them moves one step later
        take_step(model, optimizer, seed)
    assert all(not torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_state_of_another_model_is_refused_by_name() -> None:
    _, optimizer = fresh()
    deeper = fresh(replace(TOY, depth=3))[1].state()
    with pytest.raises(StageError, match=r"does not fit this model: transformer\.h\.2\.attn"):
        optimizer.load(deeper)
    wider = fresh(replace(TOY, vocabulary_size=65))[1].state()
    with pytest.raises(StageError, match=r"wte\.weight\.first_moment has shape \(65, 32\), expected \(64, 32\)"):
        optimizer.load(wider)


@pytest.mark.parametrize("epsilon", [1e-10, 1e-2])
def test_adamw_equals_torch_and_the_float64_reference_with_decay_that_follows_the_rate(epsilon: float) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, 3, generator=generator)
    adamw = AdamW(peak_rate=0.3, beta1=0.8, beta2=0.96, epsilon=epsilon, weight_decay=0.01)
    torchs, reference = torch.nn.Parameter(start.clone()), ReferenceAdamW(start.double(), adamw)
    theirs = torch.optim.AdamW([torchs], lr=0.3 * 0.5, betas=(0.8, 0.96), eps=epsilon, weight_decay=0.01)
    ours, first, second = start.clone(), torch.zeros(5, 3), torch.zeros(5, 3)
    for updates in range(1, 6):
        gradient = torch.randn(5, 3, generator=generator)
        torchs.grad = gradient.clone()
        theirs.step()
        reference.step(gradient.double(), replace(RATES, multiplier=0.5))
        adamw_step(ours, gradient, first, second, adamw=adamw, multiplier=0.5, updates=updates)
    torch.testing.assert_close(ours, torchs.detach())
    torch.testing.assert_close(ours.double(), reference.parameter, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(first.double(), reference.first_moment, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(second.double(), reference.second_moment, rtol=1e-5, atol=1e-6)


def draw_gradients(model: Transformer, generator: torch.Generator) -> dict[str, Tensor]:
    """Give every parameter a gradient of normal numbers; returns them in float64."""
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
    return {name: parameter.grad.double() for name, parameter in model.named_parameters() if parameter.grad is not None}


def test_every_parameter_takes_the_step_of_its_own_float64_reference_from_the_scaled_gradient() -> None:
    model, optimizer = fresh()
    generator = torch.Generator().manual_seed(5)
    references: dict[str, ReferenceMuon | ReferenceAdamW] = {}
    for name, parameter in model.named_parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
        references[name] = ReferenceMuon(parameter.detach().double(), OPTIMIZATION.matrices)
    references["transformer.wte.weight"] = ReferenceAdamW(
        model.transformer.wte.weight.detach().double(), OPTIMIZATION.embedding
    )
    references["lm_head.weight"] = ReferenceAdamW(model.lm_head.weight.detach().double(), OPTIMIZATION.unembedding)
    for scale in (1.0, 0.25, 0.5):
        for name, gradient in draw_gradients(model, generator).items():
            references[name].step(gradient * scale, RATES)
        optimizer.reduce_gradients()
        optimizer.step(RATES, scale)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach().double(), references[name].parameter, rtol=1e-5, atol=1e-5)


def test_the_norm_is_that_of_all_gradients_together() -> None:
    model, optimizer = fresh()
    squares = [gradient.square().sum() for gradient in draw_gradients(model, torch.Generator().manual_seed(6)).values()]
    assert optimizer.reduce_gradients() == pytest.approx(float(torch.stack(squares).sum().sqrt()), rel=1e-7)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_one_number_that_is_not_finite_shows_in_the_norm(bad: float) -> None:
    model, optimizer = fresh()
    draw_gradients(model, torch.Generator().manual_seed(7))
    gradient = model.transformer.h[1].mlp.c_proj.weight.grad
    assert isinstance(gradient, Tensor)
    gradient[3, 4] = bad
    assert not isfinite(optimizer.reduce_gradients())


def test_discarded_gradients_are_gone_and_change_nothing() -> None:
    model, optimizer = fresh()
    before = {name: tensor.clone() for name, tensor in {**model.state_dict(), **optimizer.state()}.items()}
    draw_gradients(model, torch.Generator().manual_seed(8))
    optimizer.discard_gradients()
    assert all(parameter.grad is None for parameter in model.parameters())
    draw_gradients(model, torch.Generator().manual_seed(9))
    optimizer.reduce_gradients()
    optimizer.discard_gradients()
    assert all(
        torch.equal(tensor, before[name]) for name, tensor in {**model.state_dict(), **optimizer.state()}.items()
    )


def test_a_step_out_of_order_is_an_error_and_not_a_step_from_zeros() -> None:
    model, optimizer = fresh()
    with pytest.raises(RuntimeError, match="before a backward pass"):
        optimizer.reduce_gradients()
    draw_gradients(model, torch.Generator().manual_seed(9))
    with pytest.raises(RuntimeError, match="before gradients were reduced"):
        optimizer.step(RATES)


def test_the_input_embedding_and_its_moments_stay_in_bfloat16() -> None:
    model = Transformer(TOY)
    model.transformer.wte.to(torch.bfloat16)
    model.initialize(1)
    optimizer = Optimizer(model, OPTIMIZATION, ALONE)
    take_step(model, optimizer, 0)
    state = optimizer.state()
    assert model.transformer.wte.weight.dtype == torch.bfloat16
    assert state["transformer.wte.weight.first_moment"].dtype == torch.bfloat16
    assert state["lm_head.weight.first_moment"].dtype == torch.float32
    assert state["transformer.h.0.attn.c_q.weight.momentum"].dtype == torch.float32
