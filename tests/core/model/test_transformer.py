"""The forward pass against a float64 reference written from the formulas, and the bounds the design promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import sqrt

import pytest
import torch
from torch import Tensor

from core.model.architecture import Architecture
from core.model.key_value_cache import KeyValueCache
from core.model.transformer import Transformer
from core.recipes.bidirectional import ARCHITECTURE as BIDIRECTIONAL
from core.recipes.miniseries import family_architecture

Build = Callable[..., Transformer]

VARIANTS = {
    "swiglu": {},
    "relu2": {"mlp": "relu2"},
    "grouped heads": {"key_value_heads": 2},
    "normed embedding": {"normalize_embedding": True},
}


def unit(x: Tensor, epsilon: float) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + epsilon).sqrt()


def turned(x: Tensor, base: float) -> Tensor:
    """Rotate [T, D] as complex numbers: component j with j + D/2, by minus the angle."""
    length, width = x.shape
    pairs = torch.complex(x[:, : width // 2], x[:, width // 2 :])
    angles = torch.arange(length).double()[:, None] * base ** (-torch.arange(0, width, 2).double() / width)
    pairs = pairs * torch.exp(-1j * angles)
    return torch.cat([pairs.real, pairs.imag], dim=1)


def reference_logits(weights: dict[str, Tensor], architecture: Architecture, tokens: Tensor, use_rope: bool) -> Tensor:
    """Logits [T, V] of one sequence, float64, one head at a time."""
    size, epsilon = architecture.head_width, architecture.norm_epsilon
    x = weights["transformer.wte.weight"][tokens]
    if architecture.normalize_embedding:
        x = unit(x, epsilon)
    future = torch.ones(len(tokens), len(tokens)).triu(1).bool()
    for layer in range(architecture.depth):
        matrix = {
            name.removeprefix(f"transformer.h.{layer}.").removesuffix(".weight"): weight
            for name, weight in weights.items()
        }
        normed = unit(x, epsilon)
        heads = []
        for head in range(architecture.heads):
            shared = head * architecture.key_value_heads // architecture.heads
            query = normed @ matrix["attn.c_q"][head * size : (head + 1) * size].T
            key = normed @ matrix["attn.c_k"][shared * size : (shared + 1) * size].T
            value = normed @ matrix["attn.c_v"][shared * size : (shared + 1) * size].T
            if use_rope:
                query, key = turned(query, architecture.rope_base), turned(key, architecture.rope_base)
            scores = unit(query, epsilon) @ unit(key, epsilon).T / sqrt(size)
            heads.append(scores.masked_fill(future, -torch.inf).softmax(-1) @ value)
        x = x + torch.cat(heads, dim=1) @ matrix["attn.c_proj"].T
        normed = unit(x, epsilon)
        if architecture.mlp == "swiglu":
            gate = normed @ matrix["mlp.w_gate"].T
            hidden = gate * torch.sigmoid(gate) * (normed @ matrix["mlp.w_up"].T)
        else:
            hidden = (normed @ matrix["mlp.c_fc"].T).clamp_min(0) ** 2
        x = x + hidden @ matrix["mlp.c_proj"].T
    cap = architecture.logit_softcap
    return cap * torch.tanh(unit(x, epsilon) @ weights["lm_head.weight"].T / cap)


@pytest.mark.parametrize("use_rope", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_and_gradients_equal_the_float64_reference(
    build: Build, toy: Architecture, variant: str, use_rope: bool
) -> None:
    architecture = replace(toy, **VARIANTS[variant])
    model = build(architecture, use_rope)
    tokens = torch.randint(0, 50, (2, 12), generator=torch.Generator().manual_seed(0))
    weights = {name: tensor.detach().double().requires_grad_() for name, tensor in model.named_parameters()}
    expected = torch.stack([reference_logits(weights, architecture, row, use_rope) for row in tokens])
    logits = model(tokens)
    assert logits.dtype == torch.float32
    assert (logits - expected).norm() < 1e-5 * expected.norm()

    probe = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (expected * probe).sum().backward()
    (logits * probe.float()).sum().backward()
    for name, parameter in model.named_parameters():
        reference = weights[name].grad
        assert (parameter.grad - reference).norm() < 1e-4 * reference.norm(), name


@pytest.mark.parametrize(
    ("architecture", "parameters"),
    [(family_architecture(18), 362_151_936), (family_architecture(20), 480_378_880), (BIDIRECTIONAL, 560_988_160)],
)
def test_parameter_counts_are_those_of_the_published_models(architecture: Architecture, parameters: int) -> None:
    with torch.device("meta"):
        model = Transformer(architecture)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_parameters_have_the_names_of_the_seed_checkpoints_and_nothing_else_is_saved(toy: Architecture) -> None:
    swiglu = ["attn.c_q", "attn.c_k", "attn.c_v", "attn.c_proj", "mlp.w_gate", "mlp.w_up", "mlp.c_proj"]
    layers = [f"transformer.h.{layer}.{name}.weight" for layer in range(2) for name in swiglu]
    assert list(Transformer(toy).state_dict()) == ["transformer.wte.weight", *layers, "lm_head.weight"]
    relu2 = Transformer(replace(toy, mlp="relu2")).state_dict()
    assert {"transformer.h.0.mlp.c_fc.weight", "transformer.h.0.mlp.c_proj.weight"} < set(relu2)


def test_without_rope_the_order_of_past_tokens_does_not_matter_and_with_rope_it_does(
    build: Build, toy: Architecture
) -> None:
    model = build(replace(toy, depth=1))  # deeper, causality itself tells positions apart
    tokens = torch.tensor([[1, 2, 3, 4, 5]])
    shuffled = torch.tensor([[3, 1, 4, 2, 5]])
    assert (model(tokens)[:, -1] - model(shuffled)[:, -1]).abs().max() > 1e-3
    model.use_rope = False
    torch.testing.assert_close(model(tokens)[:, -1], model(shuffled)[:, -1], rtol=0, atol=1e-5)


def test_no_attention_logit_exceeds_the_root_of_the_head_width(
    build: Build, toy: Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def watched(query: Tensor, key: Tensor, value: Tensor, **options: object) -> Tensor:
        seen.append((query @ key.mT / sqrt(query.size(-1))).abs().max().item())
        return attend(query, key, value, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    model = build(toy)
    with torch.no_grad():
        for block in model.transformer.h:
            block.attn.c_q.weight.mul_(100)
            block.attn.c_k.weight.copy_(block.attn.c_q.weight)  # a token's own key then points along its query
    model(torch.arange(12).unsqueeze(0))
    assert seen == pytest.approx([sqrt(toy.head_width)] * toy.depth, rel=1e-6)


def test_logits_stay_below_the_softcap_however_large_the_weights(build: Build, toy: Architecture) -> None:
    model = build(toy)
    with torch.no_grad():
        model.lm_head.weight.mul_(1e6)
    largest = model(torch.arange(12).unsqueeze(0)).abs().max()
    assert 14.9 < largest <= 15


@pytest.mark.parametrize("use_rope", [True, False])
@pytest.mark.parametrize("key_value_heads", [4, 2])
def test_reading_in_pieces_with_a_cache_equals_reading_at_once(
    build: Build, toy: Architecture, key_value_heads: int, use_rope: bool
) -> None:
    architecture = replace(toy, key_value_heads=key_value_heads)
    model = build(architecture, use_rope)
    tokens = torch.randint(0, 50, (3, 12), generator=torch.Generator().manual_seed(0))
    cache = KeyValueCache(architecture, rows=3, capacity=12)
    pieces = [slice(0, 5), slice(5, 6), slice(6, 7), slice(7, 11), slice(11, 12)]  # prefill, decode, a chunk, decode
    with torch.no_grad():
        logits = torch.cat(
            [model(tokens[:, piece], cache.window(0, [piece.stop - piece.start] * 3)) for piece in pieces], dim=1
        )
        torch.testing.assert_close(logits, model(tokens), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="holds 12 tokens, 13 are needed"):
        model(tokens[:, :1], cache.window(0, [1] * 3))


def test_initial_weights_depend_on_the_seed_only_and_have_the_deviations_of_the_family() -> None:
    architecture = replace(family_architecture(18), depth=1, vocabulary_size=1024)
    model, again, other = Transformer(architecture), Transformer(architecture), Transformer(architecture)
    model.initialize(42)
    torch.manual_seed(7)  # the global generator must not matter
    again.initialize(42)
    other.initialize(43)
    weights = model.state_dict()
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in weights.items())
    assert not torch.equal(weights["lm_head.weight"], other.state_dict()["lm_head.weight"])
    deviations = {name.removesuffix(".weight"): tensor.std().item() for name, tensor in weights.items()}
    assert deviations["transformer.wte"] == pytest.approx(0.8, rel=0.01)
    assert deviations["lm_head"] == pytest.approx(0.001, rel=0.01)
    assert deviations["transformer.h.0.attn.c_q"] == pytest.approx(1152**-0.5, rel=0.01)
    assert deviations["transformer.h.0.mlp.w_up"] == pytest.approx(0.4 * 1152**-0.5, rel=0.01)
    assert deviations["transformer.h.0.attn.c_proj"] == deviations["transformer.h.0.mlp.c_proj"] == 0


def test_the_bidirectional_model_starts_from_its_own_family_of_weights() -> None:
    model = Transformer(replace(BIDIRECTIONAL, depth=1, vocabulary_size=1024))
    model.initialize(42)
    weights = model.state_dict()
    assert weights["transformer.wte.weight"].std().item() == pytest.approx(1.0, rel=0.01)
    assert weights["transformer.h.0.mlp.c_fc.weight"].std().item() == pytest.approx(1280**-0.5, rel=0.01)
    assert not weights["lm_head.weight"].any()


def test_activations_take_the_dtype_of_the_embedding_and_logits_stay_float32(build: Build, toy: Architecture) -> None:
    model = build(toy)
    tokens = torch.arange(12).unsqueeze(0)
    exact = model(tokens)
    model.transformer.wte.to(torch.bfloat16)
    assert model.hidden(tokens).dtype == torch.bfloat16
    rounded = model(tokens)
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).norm() < 0.05 * exact.norm()
