"""Prompts of both directions, and text that comes token by token, whole characters at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.direction import Way
from core.data.tokenizer import Tokenizer
from core.inference.speaker import AnswerStream, Speaker, TextStream
from core.posttraining.conversation import Conversation, Part, assistant, user
from core.posttraining.rendering import PromptTooLongError, render, render_prompt
from core.recipes.recipe import Direction
from core.recipes.vocabulary import SPECIAL_TOKENS

CONVERSATION = Conversation((user("Two and two?"), assistant("4"), user("And <|bos|>?")))
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30)


@given(text=TEXTS)
def test_pieces_of_text_are_whole_characters_and_join_to_the_text(tokenizer: Tokenizer, text: str) -> None:
    stream = TextStream(tokenizer)
    pieces = [*map(stream.push, tokenizer.encode(text)), stream.finish()]
    assert "".join(pieces) == text


@given(text=TEXTS)
def test_backward_each_piece_precedes_what_was_written_before(tokenizer: Tokenizer, text: str) -> None:
    stream = TextStream(tokenizer, "backward")
    pieces = [*map(stream.push, reversed(tokenizer.encode(text))), stream.finish()]
    assert "".join(reversed(pieces)) == text


@given(data=st.binary(max_size=30))
def test_bytes_that_are_no_text_are_replaced_never_lost_and_never_held_for_long(
    tokenizer: Tokenizer, data: bytes
) -> None:
    forward = TextStream(tokenizer)
    assert "".join([*map(forward.push, data), forward.finish()]) == data.decode(errors="replace")
    backward = TextStream(tokenizer, "backward")
    pieces = [*map(backward.push, reversed(data)), backward.finish()]
    text = "".join(reversed(pieces))
    assert [one for one in text if one != "\ufffd"] == [one for one in data.decode(errors="replace") if one != "\ufffd"]


@pytest.mark.parametrize(
    ("direction", "way", "opening", "tokens"),
    [
        ("forward", "forward", ["<|bos|>", "<|forward|>"], [65, 66]),
        ("backward", "backward", ["<|bos|>", "<|backward|>"], [66, 65]),
        ("bidirectional", "forward", ["<|bos|>", "<|forward|>"], [65, 66]),
        ("bidirectional", "backward", ["<|bos|>", "<|backward|>"], [66, 65]),
    ],
)
def test_a_completion_opens_with_its_direction_and_is_put_back_into_reading_order(
    tokenizer: Tokenizer, direction: Direction, way: Way, opening: list[str], tokens: list[int]
) -> None:
    speaker = Speaker(tokenizer, direction)
    assert way in speaker.ways
    assert speaker.completion_prompt("AB", way) == (*map(tokenizer.special, opening), *tokens)
    assert speaker.completion_prompt("", way) == tuple(map(tokenizer.special, opening))
    assert speaker.text(tokens, way) == "AB"


def test_a_model_whose_vocabulary_has_no_direction_tokens_opens_with_bos_alone(tokenizer: Tokenizer) -> None:
    plain = Tokenizer(tokenizer.pattern, SPECIAL_TOKENS, tokenizer.ranks)
    assert Speaker(plain, "forward").completion_prompt("AB", "forward") == (plain.bos, 65, 66)
    rendered = tuple(render_prompt(CONVERSATION, plain, 100))
    assert Speaker(plain, "forward").chat_prompt(CONVERSATION, max_tokens=100) == rendered


def test_a_model_is_not_asked_to_read_as_it_cannot(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="this model reads forward, not backward"):
        Speaker(tokenizer, "forward").completion_prompt("", "backward")
    with pytest.raises(ValueError, match="this model reads backward, not forward"):
        Speaker(tokenizer, "backward").chat_prompt(CONVERSATION, max_tokens=100)


def test_a_chat_prompt_is_the_rendered_conversation_after_the_opening_of_the_model(tokenizer: Tokenizer) -> None:
    rendered = render_prompt(CONVERSATION, tokenizer, 100)
    for direction in ("forward", "bidirectional"):
        prompt = Speaker(tokenizer, direction).chat_prompt(CONVERSATION, max_tokens=100)
        assert prompt == (tokenizer.bos, tokenizer.special("<|forward|>"), *rendered[1:])


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_a_chat_prompt_that_does_not_fit_is_refused_not_cut(tokenizer: Tokenizer, direction: Direction) -> None:
    speaker = Speaker(tokenizer, direction)
    length = len(speaker.chat_prompt(CONVERSATION, max_tokens=100))
    assert len(speaker.chat_prompt(CONVERSATION, max_tokens=length)) == length
    with pytest.raises(PromptTooLongError):
        speaker.chat_prompt(CONVERSATION, max_tokens=length - 1)


def test_an_answer_comes_back_as_the_parts_it_was_rendered_from(tokenizer: Tokenizer) -> None:
    calls = [Part("python", "1+1"), Part("python_output", "2"), Part("python", "2+2"), Part("python_output", "4")]
    written = assistant("Né: ", *calls, ".")
    tokens = render(Conversation((user("?"), written)), tokenizer, 200).tokens
    answer = tokens[tokens.index(tokenizer.special("<|assistant_start|>")) + 1 : -1]
    stream = AnswerStream(tokenizer)
    pieces = [piece for token in answer for piece in stream.push(token)] + stream.finish()
    assert "".join(piece.text for piece in pieces if piece.kind == "text") == "Né: ."
    assert stream.message == written


def test_an_answer_of_nothing_is_still_a_message(tokenizer: Tokenizer) -> None:
    assert AnswerStream(tokenizer).message == assistant("")
