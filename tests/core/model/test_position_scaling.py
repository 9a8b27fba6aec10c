"""Each formula against one written here in plain Python, and reading in pieces against reading at once, up to 8x."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import cos, exp, log, pi, sin, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.model.architecture import Architecture
from core.model.key_value_cache import KeyValueCache
from core.model.position_scaling import LogitScale, NtkAware, PositionInterpolation, PositionScaling, Yarn
from core.model.rotary import rotation
from core.model.transformer import Transformer

CPU = torch.device("cpu")
TRAINED = 12  # the toy's sequence length
FACTORS = (1, 2, 4, 8)

Build = Callable[..., Transformer]

widths = st.sampled_from([8, 16, 64, 128])
bases = st.sampled_from([10_000.0, 100_000.0, 500_000.0])
factors = st.floats(1.0, 32.0)


def turned(scaling: PositionScaling, width: int, base: float) -> list[float]:
    return scaling.frequencies(width, base, CPU).tolist()


@given(widths, bases, factors)
def test_position_interpolation_turns_position_m_like_m_over_s(width: int, base: float, s: float) -> None:
    expected = [1 / s / base ** (2 * j / width) for j in range(width // 2)]
    assert turned(PositionInterpolation(factor=s), width, base) == pytest.approx(expected, rel=1e-12)


@given(widths, bases, factors)
def test_ntk_aware_keeps_the_fastest_pair_and_slows_the_slowest_by_s(width: int, base: float, s: float) -> None:
    found = turned(NtkAware(factor=s), width, base)
    expected = [exp(-2 * j / width * (log(base) + width / (width - 2) * log(s))) for j in range(width // 2)]
    assert found == pytest.approx(expected, rel=1e-10)
    assert found[0] == 1.0
    assert found[-1] == pytest.approx(base ** -((width - 2) / width) / s, rel=1e-10)


@given(widths, bases, factors, st.sampled_from([256, 4096]))
def test_yarn_interpolates_pairs_by_how_often_they_turn_and_divides_logits_by_t(
    width: int, base: float, s: float, length: int
) -> None:
    scaling = Yarn(factor=s, trained_length=length)
    expected = []
    for j in range(width // 2):
        theta = base ** (-2 * j / width)
        turns = length / (2 * pi / theta)
        ramp = 0.0 if turns < 1 else 1.0 if turns > 32 else (turns - 1) / 31
        expected.append((1 - ramp) * theta / s + ramp * theta)
    assert turned(scaling, width, base) == pytest.approx(expected, rel=1e-12)
    scale = scaling.query_scale(torch.arange(5))
    assert scale is not None
    assert sqrt(scale[3].item()) == pytest.approx(0.1 * log(s) + 1, rel=1e-6)
    assert scale.unique().numel() == 1


@given(st.floats(-1, 2), st.sampled_from([12, 256, 4096]), st.integers(0, 40_000))
def test_the_logit_scale_grows_with_the_logarithm_of_the_position_beyond_the_trained_length(
    c: float, length: int, position: int
) -> None:
    scale = LogitScale(coefficient=c, trained_length=length).query_scale(torch.tensor([position]))
    expected = 1 + c * log(position / length) if position > length else 1.0
    assert scale is not None
    assert scale.item() == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("scaling", [PositionInterpolation(factor=4.0), NtkAware(factor=4.0)], ids=["pi", "ntk"])
def test_a_scaled_rotation_turns_in_this_familys_direction(scaling: PositionScaling) -> None:
    made = rotation(37, 1, 8, 10_000.0, CPU, scaling)
    angles = [37 * frequency for frequency in turned(scaling, 8, 10_000.0)]
    assert made.cosine.flatten().tolist() == pytest.approx(2 * [cos(angle) for angle in angles], abs=1e-6)
    sines = [sin(angle) for angle in angles]
    assert made.sine.flatten().tolist() == pytest.approx([*sines, *(-one for one in sines)], abs=1e-6)


def scalings(factor: int) -> dict[str, tuple[bool, PositionScaling | None]]:
    return {
        "plain": (True, None),
        "interpolation": (True, PositionInterpolation(factor=factor)),
        "ntk": (True, NtkAware(factor=factor)),
        "yarn": (True, Yarn(factor=factor, trained_length=TRAINED)),
        "no rope": (False, None),
        "logit scale": (False, LogitScale(coefficient=0.6, trained_length=TRAINED)),
    }


def in_pieces(model: Transformer, tokens: torch.Tensor, pieces: Sequence[int]) -> torch.Tensor:
    cache = KeyValueCache(model.architecture, rows=len(tokens), capacity=tokens.size(1), scaling=model.scaling)
    parts = tokens.split(list(pieces), dim=1)
    return torch.cat([model(part, cache.window(0, [part.size(1)] * len(part))) for part in parts], dim=1)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("name", scalings(1))
@torch.no_grad()
def test_reading_in_pieces_and_token_by_token_gives_the_logits_of_reading_at_once(
    name: str, factor: int, toy: Architecture, build: Build
) -> None:
    use_rope, scaling = scalings(factor)[name]
    model = build(toy, use_rope)
    model.scaling = scaling
    length = factor * TRAINED
    tokens = torch.randint(0, toy.vocabulary_size, (2, length), generator=torch.Generator().manual_seed(factor))
    whole = model(tokens)
    for pieces in ([length], [5] * (length // 5) + [length % 5] * (length % 5 > 0), [1] * length):
        torch.testing.assert_close(in_pieces(model, tokens, pieces), whole, rtol=1e-4, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(coefficient=st.floats(-0.5, 1.5), length=st.integers(1, 8 * TRAINED))
@torch.no_grad()
def test_the_logit_scale_multiplies_the_attention_logits_of_late_queries_only(coefficient: float, length: int) -> None:
    """beta softmax-logits of one head, computed here in float64 from the layer's own queries and keys."""
    architecture = Architecture(
        depth=1,
        width=8,
        heads=1,
        key_value_heads=1,
        head_width=8,
        mlp="swiglu",
        mlp_width=8,
        vocabulary_size=20,
        sequence_length=TRAINED,
        rope_base=1e4,
        logit_softcap=15.0,
        norm_epsilon=1e-6,
        normalize_embedding=False,
    )
    model = Transformer(architecture, use_rope=False)
    model.initialize(seed=3)
    generator = torch.Generator().manual_seed(length)
    layer = model.transformer.h[0].attn
    x = torch.randn(1, length, 8, generator=generator)
    scaling = LogitScale(coefficient=coefficient, trained_length=TRAINED)
    scale = scaling.query_scale(torch.arange(length))
    assert scale is not None
    layer.c_proj.weight.copy_(torch.eye(8))
    found = layer(x, None, None, scale[:, None, None])[0]

    def unit(y: torch.Tensor) -> torch.Tensor:
        return y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    query, key, value = (x[0].double() @ one.weight.double().T for one in (layer.c_q, layer.c_k, layer.c_v))
    beta = torch.tensor([1 + coefficient * log(max(1.0, m / TRAINED)) for m in range(length)], dtype=torch.float64)
    logits = beta[:, None] * (unit(query) @ unit(key).T) / sqrt(8)
    logits = logits.masked_fill(torch.ones(length, length).triu(1).bool(), float("-inf"))
    torch.testing.assert_close(found.double(), logits.softmax(-1) @ value, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_cache_that_was_made_for_another_scaling_is_refused(toy: Architecture, build: Build) -> None:
    model, cache = build(toy, True), KeyValueCache(toy, rows=1, capacity=4)
    model.scaling = NtkAware(factor=2.0)
    with pytest.raises(ValueError, match="make it anew"):
        model(torch.tensor([[1]]), cache.window(0, [1]))


@torch.no_grad()
def test_a_row_that_went_back_reads_on_as_if_it_had_never_read_further(toy: Architecture, build: Build) -> None:
    model, cache = (
        build(replace(toy, key_value_heads=2), True),
        KeyValueCache(replace(toy, key_value_heads=2), rows=1, capacity=9),
    )
    model(torch.tensor([[1, 2, 3, 4, 5]]), cache.window(0, [5]))
    cache.rewind(0, 2)
    again = model(torch.tensor([[7, 8]]), cache.window(0, [2]))
    torch.testing.assert_close(again, model(torch.tensor([[1, 2, 7, 8]]))[:, 2:], rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="cannot go back to 9"):
        cache.rewind(0, 9)
