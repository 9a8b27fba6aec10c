"""Answers in OpenAI's shapes, whole and in chunks.

Two things are ours. An assistant's calls of Python and their outputs are `parts`, beside `content`, which is prose
only: in a whole message all parts in order (send them back as `parts` of that message), in a chunk the piece of a call.
And what a model writes backward comes last piece first: each chunk's text stands before that of the chunks before it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

from core.posttraining.conversation import Part
from core.serving.answers import FinishReason, Usage

Json = dict[str, object]


class Reply(Protocol):
    """How one answer is told."""

    def opening(self) -> Json | None:
        """The chunk before all others, if there is one."""

    def chunk(self, piece: Part) -> Json:
        """A piece of the answer."""

    def closing(self, reason: FinishReason) -> Json:
        """The chunk that says why the answer ended."""

    def usage(self, usage: Usage) -> Json:
        """The chunk that says what it cost."""

    def whole(self, pieces: Sequence[Part], reason: FinishReason, usage: Usage) -> Json:
        """Everything at once."""


def _identifier(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(12)}"


@dataclass(frozen=True)
class ChatReply:
    """`chat.completion` and `chat.completion.chunk`."""

    model: str
    id: str = field(default_factory=lambda: _identifier("chatcmpl"))
    created: int = field(default_factory=lambda: int(time.time()))

    def opening(self) -> Json:
        return self._chunk({"role": "assistant", "content": ""})

    def chunk(self, piece: Part) -> Json:
        return self._chunk({"content": piece.text} if piece.kind == "text" else {"parts": [_part_json(piece)]})

    def closing(self, reason: FinishReason) -> Json:
        return self._chunk({}, reason)

    def usage(self, usage: Usage) -> Json:
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": usage.to_json()}

    def whole(self, pieces: Sequence[Part], reason: FinishReason, usage: Usage) -> Json:
        parts = joined(pieces)
        prose = "".join(part.text for part in parts if part.kind == "text")
        message: Json = {"role": "assistant", "content": prose, "refusal": None}
        if any(part.kind != "text" for part in parts):
            message["parts"] = [_part_json(part) for part in parts]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
        return {**self._head("chat.completion"), "choices": [choice], "usage": usage.to_json()}

    def _chunk(self, delta: Json, reason: FinishReason | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def _head(self, kind: str) -> Json:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


@dataclass(frozen=True)
class CompletionReply:
    """`text_completion`, whole and in chunks."""

    model: str
    is_backward: bool
    id: str = field(default_factory=lambda: _identifier("cmpl"))
    created: int = field(default_factory=lambda: int(time.time()))

    def opening(self) -> None:
        return None

    def chunk(self, piece: Part) -> Json:
        return self._completion(piece.text)

    def closing(self, reason: FinishReason) -> Json:
        return self._completion("", reason)

    def usage(self, usage: Usage) -> Json:
        return {**self._head(), "choices": [], "usage": usage.to_json()}

    def whole(self, pieces: Sequence[Part], reason: FinishReason, usage: Usage) -> Json:
        texts = [piece.text for piece in pieces]
        text = "".join(reversed(texts) if self.is_backward else texts)
        return {**self._completion(text, reason), "usage": usage.to_json()}

    def _completion(self, text: str, reason: FinishReason | None = None) -> Json:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}
        return {**self._head(), "choices": [choice]}

    def _head(self) -> Json:
        return {"id": self.id, "object": "text_completion", "created": self.created, "model": self.model}


def joined(pieces: Sequence[Part]) -> list[Part]:
    """Pieces of one kind that follow each other, as one part each."""
    return [
        Part(kind, "".join(piece.text for piece in group))
        for kind, group in groupby(pieces, key=lambda piece: piece.kind)
    ]


def _part_json(part: Part) -> dict[str, str]:
    return {"type": part.kind, "text": part.text}
