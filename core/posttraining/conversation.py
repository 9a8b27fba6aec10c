"""A conversation: user and assistant by turns, user first; an assistant's message may call Python between its texts.

Whatever has this type is well-formed, so rendering, packing and chatting need no checks. A leading system message is
merged into the first user message, with a blank line between them: the models know no third role.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["user", "assistant"]
PartKind = Literal["text", "python", "python_output"]

ROLES: tuple[Role, ...] = get_args(Role)  # in the order of their turns
PART_KINDS: tuple[PartKind, ...] = get_args(PartKind)


class ConversationError(ValueError):
    """A value that is no conversation: one line that says which message is wrong and why."""


@dataclass(frozen=True)
class Part:
    """One stretch of an assistant's message: prose, a Python expression, or what evaluating it printed."""

    kind: PartKind
    text: str


@dataclass(frozen=True)
class Message:
    """One turn; a user's is a single text part."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The prose of this turn, without its calls of Python."""
        return "".join(part.text for part in self.parts if part.kind == "text")


@dataclass(frozen=True)
class Conversation:
    """At least one message. Raises `ConversationError` for roles out of turn, parts where only text may stand, no text.

    Half of a surrogate pair is no text: a tokenizer would put another character in its place.
    """

    messages: tuple[Message, ...]

    def __post_init__(self) -> None:
        if not self.messages:
            raise ConversationError("a conversation needs at least one message")
        for index, message in enumerate(self.messages):
            expected = ROLES[index % 2]
            if message.role != expected:
                raise ConversationError(
                    f"message {index} has role {message.role!r}, expected {expected!r}: roles alternate, user first"
                )
            if not message.parts:
                raise ConversationError(f"message {index} has no content")
            if message.role == "user" and [part.kind for part in message.parts] != ["text"]:
                raise ConversationError(f"message {index}: only an assistant's message may have parts; use a string")
            if not all(_is_text(part.text) for part in message.parts):
                raise ConversationError(f"message {index} holds no text, or half of a surrogate pair")

    def before_answer(self) -> Conversation:
        """This conversation up to its last question: without the assistant's last message, if it ends in one."""
        return Conversation(self.messages[:-1]) if self.messages[-1].role == "assistant" else self


def user(text: str) -> Message:
    """A user's turn."""
    return Message("user", (Part("text", text),))


def assistant(*parts: Part | str) -> Message:
    """An assistant's turn; a string is a text part."""
    return Message("assistant", tuple(Part("text", part) if isinstance(part, str) else part for part in parts))


def parse_conversation(value: object) -> Conversation:
    """Read `{"messages": [{"role", "content": str | [{"type", "text"}]}]}`; keys beside these are ignored."""
    messages = value.get("messages") if isinstance(value, Mapping) else None
    if not isinstance(messages, list):
        raise ConversationError('a conversation is an object {"messages": [...]}')
    for index, message in enumerate(messages):
        if not (isinstance(message, Mapping) and "role" in message and "content" in message):
            raise ConversationError(f'message {index} is no object {{"role", "content"}}')
    merged = _merge_system(messages)
    return Conversation(tuple(_parse_message(index, message) for index, message in enumerate(merged)))


def conversation_json(conversation: Conversation) -> dict[str, object]:
    """The value that `parse_conversation` reads back as the same conversation."""
    return {"messages": [{"role": turn.role, "content": _content_json(turn)} for turn in conversation.messages]}


def _is_text(text: object) -> bool:
    if not isinstance(text, str):
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _merge_system(messages: list[Mapping[str, object]]) -> list[Mapping[str, object]]:
    if not messages or messages[0]["role"] != "system":
        return messages
    system = messages[0]["content"]
    if len(messages) < 2 or messages[1]["role"] != "user":
        raise ConversationError("a system message must be followed by a user message, into which it is merged")
    question = messages[1]["content"]
    if not isinstance(system, str) or not isinstance(question, str):
        raise ConversationError("a system message and the user message after it must be strings")
    return [{"role": "user", "content": f"{system}\n\n{question}"}, *messages[2:]]


def _parse_message(index: int, message: Mapping[str, object]) -> Message:
    role, content = message["role"], message["content"]
    if role not in ROLES:
        raise ConversationError(
            f"message {index} has role {role!r}, expected one of {', '.join(ROLES)} (or a leading system)"
        )
    if isinstance(content, str):
        return Message(role, (Part("text", content),))
    if not isinstance(content, list):
        raise ConversationError(
            f"message {index}: content is a {type(content).__name__}, not a string or list of parts"
        )
    return Message(role, tuple(_parse_part(index, part) for part in content))


def _parse_part(index: int, part: object) -> Part:
    kind, text = (part.get("type"), part.get("text")) if isinstance(part, Mapping) else (None, None)
    if kind not in PART_KINDS or not isinstance(text, str):
        raise ConversationError(
            f'message {index}: a part is {{"type": {" | ".join(PART_KINDS)}, "text": string}}, not {part!r:.80}'
        )
    return Part(kind, text)


def _content_json(message: Message) -> str | list[dict[str, str]]:
    if [part.kind for part in message.parts] == ["text"]:
        return message.parts[0].text
    return [{"type": part.kind, "text": part.text} for part in message.parts]
