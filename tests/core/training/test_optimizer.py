"""Every parameter belongs to one group; the state is a flat dict that comes back bit by bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from core.model.architecture import Architecture
from core.model.loss import next_token_loss
from core.model.transformer import Transformer
from core.recipes.optimization import AdamW, Optimization
from core.recipes.tiny import ARCHITECTURE as TINY
from core.recipes.tiny import OPTIMIZATION
from core.stages.context import StageError
from core.training.adamw import adamw_step
from core.training.optimizer import Optimizer
from core.training.schedule import Rates

TOY = replace(TINY, width=32, heads=2, key_value_heads=1, head_width=16, mlp_width=48, vocabulary_size=64)
RATES = Rates(multiplier=1.0, momentum=0.9, weight_decay=0.1)


def fresh(architecture: Architecture = TOY, optimization: Optimization = OPTIMIZATION) -> tuple[Transformer, Optimizer]:
    model = Transformer(architecture)
    model.initialize(1)
    return model, Optimizer(model, optimization)


def take_step(model: Transformer, optimizer: Optimizer, seed: int) -> None:
    tokens = torch.randint(0, 64, (2, 9), generator=torch.Generator().manual_seed(seed))
    next_token_loss(model, tokens[:, :-1], tokens[:, 1:], scale=1 / 16).backward()
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


def test_adamw_equals_torch_with_decay_that_follows_the_rate() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, 3, generator=generator)
    reference = torch.nn.Parameter(start.clone())
    theirs = torch.optim.AdamW([reference], lr=0.3 * 0.5, betas=(0.8, 0.96), eps=1e-10, weight_decay=0.01)
    ours, first, second = start.clone(), torch.zeros(5, 3), torch.zeros(5, 3)
    adamw = AdamW(peak_rate=0.3, beta1=0.8, beta2=0.96, epsilon=1e-10, weight_decay=0.01)
    for updates in range(1, 6):
        gradient = torch.randn(5, 3, generator=generator)
        reference.grad = gradient.clone()
        theirs.step()
        adamw_step(ours, gradient, first, second, adamw=adamw, multiplier=0.5, updates=updates)
    torch.testing.assert_close(ours, reference.detach())


def test_the_input_embedding_and_its_moments_stay_in_bfloat16() -> None:
    model = Transformer(TOY)
    model.transformer.wte.to(torch.bfloat16)
    model.initialize(1)
    optimizer = Optimizer(model, OPTIMIZATION)
    take_step(model, optimizer, 0)
    state = optimizer.state()
    assert model.transformer.wte.weight.dtype == torch.bfloat16
    assert state["transformer.wte.weight.first_moment"].dtype == torch.bfloat16
    assert state["lm_head.weight.first_moment"].dtype == torch.float32
    assert state["transformer.h.0.attn.c_q.weight.momentum"].dtype == torch.float32
