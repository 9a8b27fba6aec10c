"""A chat with one model: the conversation so far, the settings, and answers written piece by piece.

An answer can be stopped between two tokens; what was written until then stays in the history. A conversation that no
longer fits the context is refused in one line, and stays as it was.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from core.chat.settings import ChatSettings
from core.chat.terminal import Display
from core.chat.text_model import AnswerOptions, PieceStream, TextModel
from core.data.direction import Way
from core.inference.engine import End, Request, Token
from core.posttraining.conversation import (
    Conversation,
    ConversationError,
    Message,
    conversation_json,
    parse_conversation,
    user,
)


class ChatError(Exception):
    """Something a person asked for that cannot be done: one line that says why and what to do."""


class Session:
    """`stop`, set from a signal handler, ends the answer under way."""

    def __init__(self, model: TextModel, settings: ChatSettings, display: Display) -> None:
        self.model, self.settings, self.display = model, settings, display
        self.messages: tuple[Message, ...] = ()
        self._is_stopped = False
        self._engine = model.engine(slots=1)

    @property
    def way(self) -> Way:
        """The way in which text is completed."""
        return self.settings.direction or self.model.speaker.ways[0]

    def say(self, text: str) -> None:
        """Take a message or a text to complete, and write the answer. Raises `ContextError`, `ChatError`."""
        if self.model.can_chat:
            self._chat(text)
        else:
            self._complete(text)

    def stop(self) -> None:
        """End the answer under way after its current token."""
        self._is_stopped = True

    def clear(self) -> None:
        """Begin a new conversation."""
        self.messages = ()

    def save(self, path: Path) -> None:
        """Write the conversation as JSON. Raises `ChatError` when there is none, OSError."""
        if not self.messages:
            raise ChatError("there is no conversation to save yet")
        value = conversation_json(Conversation(self.messages))
        path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def load(self, path: Path) -> None:
        """Go on with a conversation that was saved. Raises `ChatError`, OSError."""
        self.require_chat()
        try:
            messages = parse_conversation(json.loads(path.read_text(encoding="utf-8"))).messages
        except (ValueError, ConversationError, RecursionError) as error:
            raise ChatError(f"{path} holds no conversation: {error}") from None
        if messages[-1].role != "assistant":
            raise ChatError(f"{path} ends with a question; end it with an answer, or leave the question out")
        self.messages = messages

    def require_chat(self) -> None:
        """Raise `ChatError` for a model that has no conversations."""
        if not self.model.can_chat:
            raise ChatError(f"{self.model.name} completes text; it has no conversations")

    def _chat(self, text: str) -> None:
        messages = (*self.messages, user(text))
        request = self.model.chat_request(Conversation(messages), self._options())
        pieces = self.model.chat_pieces()
        self.display.begin(text, None)
        self._write(request, pieces)
        self.messages = (*messages, pieces.message)

    def _complete(self, text: str) -> None:
        way = self.way
        request = self.model.completion_request(text, way, self._options())
        self.display.begin(text, way)
        self._write(request, self.model.completion_pieces(way))

    def _write(self, request: Request, pieces: PieceStream) -> None:
        """Show the answer while the engine writes it."""
        self._is_stopped = False
        number = self._engine.add(request)
        reason: str | None = None
        while reason is None:
            if self._is_stopped:
                self._engine.cancel(number)
            for event in self._engine.step():
                match event:
                    case Token(token=token):
                        for piece in pieces.push(token):
                            self.display.piece(piece)
                    case End(reason=ended):
                        reason = ended
        for piece in pieces.finish():
            self.display.piece(piece)
        self.display.end(self._note(reason, request.sampling.max_tokens))

    def _note(self, reason: str, most_tokens: int) -> str | None:
        if reason == "cancelled":
            return "stopped"
        if reason == "length" and most_tokens == self.settings.tokens:
            return f"cut off after {most_tokens:,} tokens; /tokens sets the limit"
        if reason == "length":
            return "cut off: the context is full; /clear begins a new conversation"
        return None

    def _options(self) -> AnswerOptions:
        settings = self.settings
        return AnswerOptions(
            temperature=settings.temperature,
            top_k=settings.top_k,
            top_p=settings.top_p,
            seed=secrets.randbits(63) if settings.seed is None else settings.seed,
            most_tokens=settings.tokens,
        )
