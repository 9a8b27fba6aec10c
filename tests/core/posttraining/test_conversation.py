"""What is a conversation, what is not, and what the refusal says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.posttraining.conversation import (
    Conversation,
    ConversationError,
    Part,
    assistant,
    conversation_json,
    parse_conversation,
    user,
)


def turn(role: str, content: object) -> dict[str, object]:
    return {"role": role, "content": content}


@given(st.data())
def test_json_is_read_back_as_the_same_conversation(
    conversations: st.SearchStrategy[Conversation], data: st.DataObject
) -> None:
    conversation = data.draw(conversations)
    assert parse_conversation(conversation_json(conversation)) == conversation


def test_a_leading_system_message_is_merged_into_the_first_question_with_a_blank_line() -> None:
    messages = [turn("system", "Be brief."), turn("user", "Hi"), turn("assistant", "Hi.")]
    assert parse_conversation({"messages": messages}) == Conversation((user("Be brief.\n\nHi"), assistant("Hi.")))


def test_keys_beside_the_schema_are_ignored() -> None:
    message = {**turn("user", "Hi"), "name": "ann"}
    assert parse_conversation({"messages": [message], "source": "here"}) == Conversation((user("Hi"),))


def test_the_text_of_a_message_leaves_out_its_calls_of_python() -> None:
    assert assistant("2 and 2 is ", Part("python", "2+2"), Part("python_output", "4"), "4").text == "2 and 2 is 4"


@pytest.mark.parametrize("last", [(), (assistant("Hi."),)])
def test_before_the_answer_a_conversation_ends_with_its_last_question(last: tuple) -> None:
    question = (user("Hi"), assistant("Yes?"), user("Bye"))
    assert Conversation((*question, *last)).before_answer() == Conversation(question)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("Hi", "an object"),
        ({"messages": "Hi"}, "an object"),
        ({"messages": []}, "at least one message"),
        ({"messages": ["Hi"]}, "message 0 is no object"),
        ({"messages": [{"role": "user"}]}, "message 0 is no object"),
        ({"messages": [turn("assistant", "Hi")]}, "message 0 has role 'assistant', expected 'user'"),
        ({"messages": [turn("user", "a"), turn("user", "b")]}, "message 1 has role 'user', expected 'assistant'"),
        ({"messages": [turn("user", "a"), turn("tool", "b")]}, "message 1 has role 'tool'"),
        ({"messages": [turn("user", "a"), turn("system", "b")]}, "message 1 has role 'system'"),
        ({"messages": [turn("system", "a")]}, "followed by a user message"),
        ({"messages": [turn("system", "a"), turn("assistant", "b")]}, "followed by a user message"),
        ({"messages": [turn("system", ["a"]), turn("user", "b")]}, "must be strings"),
        ({"messages": [turn("user", "a\ud83d")]}, "message 0 holds no text, or half of a surrogate pair"),
        ({"messages": [turn("user", None)]}, "message 0: content is a NoneType"),
        ({"messages": [turn("user", [])]}, "message 0 has no content"),
        ({"messages": [turn("user", [{"type": "python", "text": "1"}])]}, "only an assistant's message may have parts"),
        ({"messages": [turn("user", "a"), turn("assistant", [])]}, "message 1 has no content"),
        ({"messages": [turn("user", "a"), turn("assistant", ["b"])]}, "message 1: a part is"),
        (
            {"messages": [turn("user", "a"), turn("assistant", [{"type": "image", "text": "b"}])]},
            "message 1: a part is",
        ),
        ({"messages": [turn("user", "a"), turn("assistant", [{"type": "text"}])]}, "message 1: a part is"),
    ],
)
def test_what_is_no_conversation_is_refused_in_one_line_that_says_where(value: object, complaint: str) -> None:
    with pytest.raises(ConversationError) as refusal:
        parse_conversation(value)
    assert complaint in str(refusal.value)
    assert "\n" not in str(refusal.value)
