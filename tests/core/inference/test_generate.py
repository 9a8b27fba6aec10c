"""Generation with a cache against generation without one, and what must hold of sampling."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.inference.generate import ContextError, Sampling, choose, generate
from core.model.transformer import Transformer

CONTEXT = 24
PROMPT = [3, 1, 4, 1, 5]
GREEDY = Sampling(max_tokens=12, temperature=0)


def without_cache(model: Transformer, prompt: list[int], count: int) -> list[int]:
    """Greedy decoding that reads everything again for every token."""
    tokens = list(prompt)
    with torch.inference_mode():
        for _ in range(count):
            tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    return tokens[len(prompt) :]


@settings(max_examples=20)
@given(prompt=st.lists(st.integers(0, 39), min_size=1, max_size=12))
def test_greedy_generation_equals_reading_everything_again(model: Transformer, prompt: list[int]) -> None:
    answers = generate(model, [prompt], GREEDY, stop_tokens=(), context_tokens=CONTEXT)
    assert answers == [without_cache(model, prompt, 12)]


def test_prompts_of_a_batch_do_not_touch_each_other(model: Transformer) -> None:
    prompts = [PROMPT, [9, 2, 6, 5, 3], [0, 0, 0, 0, 0]]
    together = generate(model, prompts, GREEDY, stop_tokens=(), context_tokens=CONTEXT)
    assert together == [without_cache(model, prompt, 12) for prompt in prompts]


def test_an_answer_ends_before_its_first_stop_token_while_others_go_on(model: Transformer) -> None:
    prompts = [PROMPT, [9, 2, 6, 5, 3]]
    whole = [without_cache(model, prompt, 12) for prompt in prompts]
    stop = next(token for token in whole[0] if token not in whole[1])
    answers = generate(model, prompts, GREEDY, stop_tokens={stop}, context_tokens=CONTEXT)
    assert answers == [whole[0][: whole[0].index(stop)], whole[1]]


def test_a_seed_decides_the_samples_and_leaves_the_global_generator_alone(model: Transformer) -> None:
    def sample(seed: int) -> list[list[int]]:
        sampling = Sampling(max_tokens=12, temperature=1.5, seed=seed)
        return generate(model, [PROMPT] * 3, sampling, stop_tokens=(), context_tokens=CONTEXT)

    before = torch.get_rng_state()
    first = sample(7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert sample(7) == first
    assert sample(8) != first
    assert len({tuple(answer) for answer in first}) == 3


def test_what_exceeds_the_context_is_refused_before_the_first_token(model: Transformer) -> None:
    fits = Sampling(max_tokens=CONTEXT - len(PROMPT), temperature=0)
    assert len(generate(model, [PROMPT], fits, stop_tokens=(), context_tokens=CONTEXT)[0]) == fits.max_tokens
    with pytest.raises(ContextError, match="a prompt of 5 tokens and 20 new ones exceed the context of 24"):
        generate(model, [PROMPT], Sampling(max_tokens=20), stop_tokens=(), context_tokens=CONTEXT)


@pytest.mark.parametrize("prompts", [[], [[]], [[1], [1, 2]]])
def test_prompts_of_several_lengths_or_none_are_refused(model: Transformer, prompts: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="non-empty and of one length"):
        generate(model, prompts, GREEDY, stop_tokens=(), context_tokens=CONTEXT)


def drawn(logits: list[float], sampling: Sampling) -> Counter[int]:
    rows = torch.tensor([logits]).repeat(4000, 1)
    return Counter(choose(rows, sampling, torch.Generator().manual_seed(5)).tolist())


def test_only_the_k_likeliest_are_ever_chosen() -> None:
    counts = drawn([0.0, 2.0, 1.0, 3.0, -1.0], Sampling(max_tokens=1, top_k=2))
    assert set(counts) == {1, 3}


def test_top_one_is_greedy_and_a_large_k_allows_everything() -> None:
    assert set(drawn([0.0, 2.0, 1.0], Sampling(max_tokens=1, top_k=1))) == {1}
    assert set(drawn([0.0, 0.2, 0.1], Sampling(max_tokens=1, top_k=99))) == {0, 1, 2}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_samples_follow_the_softmax_at_the_temperature(temperature: float) -> None:
    logits = [0.0, 1.0, 2.0]
    counts = drawn(logits, Sampling(max_tokens=1, temperature=temperature))
    expected = (torch.tensor(logits) / temperature).softmax(0)
    assert [counts[index] / 4000 for index in range(3)] == pytest.approx(expected.tolist(), abs=0.03)
