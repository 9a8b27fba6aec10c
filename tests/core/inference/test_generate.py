"""Generation with a cache and in a batch against reading everything again for every token."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.inference.engine import ContextError
from core.inference.generate import SLOTS, generate
from core.inference.sampling import Sampling
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


def test_prompts_of_any_lengths_share_a_batch_and_more_of_them_than_it_holds_take_turns(model: Transformer) -> None:
    prompts = [[(3 * number + place) % 40 for place in range(1 + number % 12)] for number in range(SLOTS + 9)]
    together = generate(model, prompts, GREEDY, stop_tokens=(), context_tokens=CONTEXT)
    assert together == [without_cache(model, prompt, 12) for prompt in prompts]


def test_an_empty_prompt_is_refused_and_no_prompt_has_no_answer(model: Transformer) -> None:
    assert generate(model, [], GREEDY, stop_tokens=(), context_tokens=CONTEXT) == []
    with pytest.raises(ValueError, match="the prompt is empty"):
        generate(model, [PROMPT, []], GREEDY, stop_tokens=(), context_tokens=CONTEXT)
