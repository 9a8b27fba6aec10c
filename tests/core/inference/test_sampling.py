"""Choosing a token: against a plain reference that sorts Python lists, and what must hold of every choice."""

from __future__ import annotations

from collections import Counter
from math import exp
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.inference.sampling import Sampling, choose

# Multiples of 1/8 that are exact in float32: equal logits do occur, and no two differ by rounding only.
LOGITS = st.lists(st.integers(-64, 64).map(lambda eighths: eighths / 8), min_size=1, max_size=12)
SAMPLINGS = st.builds(
    Sampling,
    max_tokens=st.just(1),
    temperature=st.sampled_from([0.0, 0.3, 1.0, 1.7]),
    top_k=st.none() | st.integers(1, 14),
    top_p=st.none() | st.sampled_from([0.001, 0.35, 0.7, 0.95, 1.0]),
)


def kept(logits: list[float], sampling: Sampling) -> dict[int, float]:
    """Weights of the ids that may be drawn, by the definition of top-k and then top-p."""
    weights = [exp(logit / sampling.temperature) for logit in logits]
    ids = sorted(range(len(logits)), key=lambda index: (-weights[index], index))[: sampling.top_k]
    if sampling.top_p is None:
        return {index: weights[index] for index in ids}
    whole, reached, nucleus = sum(weights[index] for index in ids), 0.0, {}
    for index in ids:
        if reached >= sampling.top_p * whole * (1 + 1e-12):
            break
        nucleus[index] = weights[index]
        reached += weights[index]
    return nucleus


def reference(logits: list[float], sampling: Sampling, draw: float) -> set[int]:
    """The ids that a draw may give: one, or two where it falls on their border within rounding."""
    if sampling.temperature == 0:
        return {max(range(len(logits)), key=lambda index: (logits[index], -index))}
    weights = kept(logits, sampling)
    whole = sum(weights.values())
    target, reached, found = draw * whole, 0.0, set()
    for index in sorted(weights):
        if reached - 1e-9 * whole <= target <= (reached := reached + weights[index]) + 1e-9 * whole:
            found.add(index)
    return found


@settings(max_examples=300, deadline=None)
@given(logits=LOGITS, sampling=SAMPLINGS, draw=st.floats(0, 1, exclude_max=True))
def test_a_choice_is_that_of_the_plain_reference(logits: list[float], sampling: Sampling, draw: float) -> None:
    assert choose(torch.tensor([logits]), [sampling], [draw])[0] in reference(logits, sampling, draw)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.permutations([0.0, 0.5, 1.0, 2.0, 3.5, -1.0]), SAMPLINGS, st.floats(0, 0.99)), min_size=2
    )
)
def test_a_choice_does_not_depend_on_the_other_rows(rows: list[tuple[list[float], Sampling, float]]) -> None:
    logits, samplings, draws = zip(*rows, strict=True)
    alone = [choose(torch.tensor([row]), [sampling], [draw])[0] for row, sampling, draw in rows]
    assert choose(torch.tensor(logits), samplings, draws) == alone


def drawn(logits: list[float], sampling: Sampling, count: int = 4000) -> Counter[int]:
    generator = Random(5)
    draws = [generator.random() for _ in range(count)]
    return Counter(choose(torch.tensor([logits]).repeat(count, 1), [sampling] * count, draws))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_samples_follow_the_softmax_at_the_temperature(temperature: float) -> None:
    logits = [0.0, 1.0, 2.0]
    counts = drawn(logits, Sampling(max_tokens=1, temperature=temperature))
    expected = (torch.tensor(logits) / temperature).softmax(0)
    assert [counts[index] / 4000 for index in range(3)] == pytest.approx(expected.tolist(), abs=0.03)


def test_only_the_k_likeliest_are_ever_chosen_and_of_equals_the_first() -> None:
    assert set(drawn([0.0, 2.0, 1.0, 3.0, -1.0], Sampling(max_tokens=1, top_k=2))) == {1, 3}
    assert set(drawn([1.0, 1.0, 1.0], Sampling(max_tokens=1, top_k=2))) == {0, 1}
    assert set(drawn([0.0, 0.2, 0.1], Sampling(max_tokens=1, top_k=99))) == {0, 1, 2}


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-53])
@pytest.mark.parametrize("temperature", [1e-300, 1e-6, 1e300])
def test_extreme_draws_and_temperatures_choose_a_token_that_exists(draw: float, temperature: float) -> None:
    logits = torch.linspace(-15, 15, 4001).unsqueeze(0)
    [chosen] = choose(logits, [Sampling(max_tokens=1, temperature=temperature)], [draw])
    assert 0 <= chosen <= 4000
    if temperature < 1:
        assert chosen == 4000


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_tokens": 0}, "max_tokens is 0, but must be at least 1"),
        ({"temperature": -0.1}, "temperature is -0.1, but must be a number from 0 upwards"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"top_k": 0}, "top_k is 0, but must be at least 1"),
        ({"top_p": 0.0}, "top_p is 0.0, but must be above 0 and at most 1"),
        ({"top_p": 1.5}, "top_p is 1.5"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_value_out_of_range_is_named(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**{"max_tokens": 1, **values})
