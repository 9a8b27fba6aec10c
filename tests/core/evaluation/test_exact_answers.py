"""Exact answers found by one forward pass are those that greedy decoding gives."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.evaluation.exact_answers import exact_answers
from core.inference.generate import generate
from core.inference.sampling import Sampling
from core.model.transformer import Transformer
from core.posttraining.rendering import Rendered

CONTEXT = 96


def answered(model: Transformer, prompt: list[int], length: int) -> Rendered:
    """A conversation whose answer is what the model says itself."""
    sampling = Sampling(max_tokens=length, temperature=0)
    answer = generate(model, [prompt], sampling, stop_tokens=(), context_tokens=CONTEXT)[0]
    return Rendered((*prompt, *answer), (0,) * len(prompt) + (1,) * length, cut=0)


def changed(conversation: Rendered, position: int) -> Rendered:
    tokens = list(conversation.tokens)
    tokens[position] = (tokens[position] + 1) % 200
    return Rendered(tuple(tokens), conversation.mask, cut=0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(data=st.data(), sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=20))
def test_an_answer_is_exact_if_and_only_if_greedy_decoding_gives_it(
    model: Transformer, data: st.DataObject, sizes: list[tuple[int, int]]
) -> None:
    conversations, expected = [], []
    for number, (prompt_length, length) in enumerate(sizes):
        prompt = [(31 * number + 7 * position) % 200 for position in range(prompt_length)]
        conversation = answered(model, prompt, length)
        spoiled = data.draw(st.booleans())
        if spoiled:
            conversation = changed(conversation, prompt_length + data.draw(st.integers(0, length - 1)))
        conversations.append(conversation)
        expected.append(not spoiled)
    assert exact_answers(model, conversations) == expected


def test_what_the_model_is_given_need_not_be_what_it_would_have_said(model: Transformer) -> None:
    first = answered(model, [5, 6, 7], 4)
    given_output = [*first.tokens, 11, 12]  # as the output of Python: not supervised
    rest = answered(model, given_output, 3).tokens[len(given_output) :]
    conversation = Rendered((*given_output, *rest), (*first.mask, 0, 0, 1, 1, 1), cut=0)
    assert exact_answers(model, [conversation]) == [True]
    assert exact_answers(model, [changed(conversation, len(given_output))]) == [False]


def test_no_conversation_has_no_answers(model: Transformer) -> None:
    assert exact_answers(model, []) == []
