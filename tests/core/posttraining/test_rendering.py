"""Ids and mask of conversations, against their text written out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.tokenizer import Tokenizer
from core.posttraining.conversation import Conversation, Message, Part, assistant, user
from core.posttraining.rendering import PromptTooLongError, render, render_prompt
from core.recipes.vocabulary import SPECIAL_TOKENS

LONG = 100_000
MARKS = {"text": ("", ""), "python": ("<|python_start|>", "<|python_end|>")} | {
    "python_output": ("<|output_start|>", "<|output_end|>")
}


def written_out(message: Message) -> list[tuple[str, bool]]:
    """A message as stretches of text with markers, and whether the assistant produces each."""
    if message.role == "user":
        return [(f"<|user_start|>{message.text}<|user_end|>", False)]
    stretches = [("<|assistant_start|>", False)]
    for part in message.parts:
        start, end = MARKS[part.kind]
        stretches.append((f"{start}{part.text}{end}", part.kind != "python_output"))
    return [*stretches, ("<|assistant_end|>", True)]


@given(st.data())
def test_ids_decode_to_the_conversation_and_exactly_what_the_assistant_produces_is_supervised(
    tokenizer: Tokenizer, conversations: st.SearchStrategy[Conversation], data: st.DataObject
) -> None:
    conversation = data.draw(conversations)
    rendered = render(conversation, tokenizer, LONG)
    stretches = [("<|bos|>", False), *(part for message in conversation.messages for part in written_out(message))]
    assert tokenizer.decode(rendered.tokens) == "".join(text for text, _ in stretches)
    for wanted in (True, False):
        ids = [token for token, bit in zip(rendered.tokens, rendered.mask, strict=True) if bool(bit) == wanted]
        assert tokenizer.decode(ids) == "".join(text for text, produced in stretches if produced == wanted)
    assert rendered.cut == 0


@given(st.data())
def test_text_that_spells_a_special_token_stays_text(
    tokenizer: Tokenizer, conversations: st.SearchStrategy[Conversation], data: st.DataObject
) -> None:
    conversation = data.draw(conversations)
    special = [token for token in render(conversation, tokenizer, LONG).tokens if token >= tokenizer.bos]
    parts = [part.kind for message in conversation.messages for part in message.parts if message.role == "assistant"]
    calls = sum(kind != "text" for kind in parts)
    assert len(special) == 1 + 2 * len(conversation.messages) + 2 * calls


def test_an_answer_with_a_call_of_python_by_its_ids(tokenizer: Tokenizer) -> None:
    conversation = Conversation((user("ab"), assistant("a", Part("python", "b"), Part("python_output", "c"))))
    bos, user_start, user_end, start, end, python, python_end, output, output_end = map(
        tokenizer.special, SPECIAL_TOKENS
    )
    a, b, c = b"abc"
    rendered = render(conversation, tokenizer, LONG)
    assert list(rendered.tokens) == [
        *(bos, user_start, tokenizer.ranks[b"ab"], user_end, start),
        *(a, python, b, python_end, output, c, output_end, end),
    ]
    assert list(rendered.mask) == [0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 1]


@given(st.lists(st.text("ab c", max_size=6), min_size=1, max_size=5))
def test_adjacent_texts_of_an_answer_are_tokenised_as_one(tokenizer: Tokenizer, texts: list[str]) -> None:
    apart = Conversation((user("x"), assistant(*texts)))
    together = Conversation((user("x"), assistant("".join(texts))))
    assert render(apart, tokenizer, LONG) == render(together, tokenizer, LONG)


@given(st.data(), st.integers(1, 60))
def test_truncation_keeps_the_beginning_and_counts_the_rest(
    tokenizer: Tokenizer, conversations: st.SearchStrategy[Conversation], data: st.DataObject, most: int
) -> None:
    conversation = data.draw(conversations)
    whole, short = render(conversation, tokenizer, LONG), render(conversation, tokenizer, most)
    assert short.tokens == whole.tokens[:most]
    assert short.mask == whole.mask[:most]
    assert len(short) + short.cut == len(whole)


@given(st.data())
def test_a_prompt_is_the_rendering_up_to_the_answer(
    tokenizer: Tokenizer, conversations: st.SearchStrategy[Conversation], data: st.DataObject
) -> None:
    question = data.draw(conversations).before_answer()
    answered = Conversation((*question.messages, assistant("ab")))
    prompt = render_prompt(question, tokenizer, LONG)
    assert [*prompt, tokenizer.ranks[b"ab"], tokenizer.special("<|assistant_end|>")] == list(
        render(answered, tokenizer, LONG).tokens
    )


def test_a_prompt_that_does_not_fit_is_refused_not_cut(tokenizer: Tokenizer) -> None:
    question = Conversation((user("xyz"),))
    assert len(render_prompt(question, tokenizer, 7)) == 7
    with pytest.raises(PromptTooLongError, match="has 7 tokens, 6 fit"):
        render_prompt(question, tokenizer, 6)


def test_a_prompt_ends_with_the_user(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="ends with a user message"):
        render_prompt(Conversation((user("a"), assistant("b"))), tokenizer, LONG)
