"""A trained model as something to talk to: conversations and texts become requests to its engine, tokens become text.

What does not fit the context is refused before the first token, never cut. Text that spells a special token stays text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from core.data.direction import Way
from core.evaluation.subject import Subject
from core.inference.engine import ContextError, Engine, Request
from core.inference.sampling import Sampling
from core.inference.speaker import AnswerStream, Speaker, TextStream
from core.inference.tools import Tools
from core.posttraining.conversation import Conversation, Part
from core.posttraining.rendering import PromptTooLongError

COUNTED = 4096  # tokens that every text is tokenised for, to be refused by its length: a megabyte takes a second


class TextError(ValueError):
    """A string that is no text."""


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """How an answer is drawn. `tokens`: exactly what was asked for, or None for what fits, up to `most_tokens`."""

    temperature: float
    top_k: int | None
    top_p: float | None
    seed: int
    tokens: int | None = None
    most_tokens: int | None = None


class PieceStream(Protocol):
    """Tokens in, pieces of an answer out."""

    def push(self, token: int) -> list[Part]:
        """What `token` adds to the text, maybe nothing yet."""

    def finish(self) -> list[Part]:
        """What was held back, when nothing more comes."""


@dataclass(frozen=True)
class TextModel:
    """One loaded model under the name that people call it by."""

    name: str
    subject: Subject

    @property
    def can_chat(self) -> bool:
        """Whether it was fine-tuned to; every model completes text."""
        return self.subject.state.phase == "sft"

    @property
    def context_tokens(self) -> int:
        """How many tokens prompt and answer may have together."""
        return self.subject.state.sequence_length

    @cached_property
    def speaker(self) -> Speaker:
        """How it reads and writes."""
        return Speaker(self.subject.tokenizer, self.subject.state.direction)

    @cached_property
    def _tools(self) -> Tools:
        return Tools(self.subject.tokenizer)

    def engine(self, slots: int) -> Engine:
        """A new engine for `slots` answers at once."""
        return Engine(self.subject.model, context_tokens=self.context_tokens, slots=slots)

    def chat_request(self, conversation: Conversation, options: AnswerOptions) -> Request:
        """Ask for the next turn of a conversation that ends with the user. Raises `ContextError`."""
        markers = 2 * len(conversation.messages)
        self._refuse_at_a_glance((part.text for message in conversation.messages for part in message.parts), markers)
        try:
            prompt = self.speaker.chat_prompt(conversation, max_tokens=self.context_tokens - 1)
        except PromptTooLongError as error:
            raise ContextError(str(error)) from None
        sampling = self._sampling(prompt, options)
        return Request(prompt=prompt, sampling=sampling, stop_tokens=self.speaker.chat_stops, tools=self._tools)

    def completion_request(self, text: str, way: Way, options: AnswerOptions) -> Request:
        """Ask for what follows `text`, or backward for what precedes it.

        Raises `ContextError`, `TextError`, and ValueError for a way in which it does not read.
        """
        self._refuse_at_a_glance([text])
        try:
            prompt = self.speaker.completion_prompt(text, way)
        except UnicodeEncodeError:
            raise TextError("the prompt holds half of a surrogate pair, which is no text") from None
        sampling = self._sampling(prompt, options)
        return Request(prompt=prompt, sampling=sampling, stop_tokens=self.speaker.completion_stops)

    def chat_pieces(self) -> AnswerStream:
        """Read the tokens of one answer to `chat_request`."""
        return AnswerStream(self.subject.tokenizer)

    def completion_pieces(self, way: Way) -> PieceStream:
        """Read the tokens of one answer to `completion_request`; backward, each piece precedes those before."""
        return _Completion(TextStream(self.subject.tokenizer, way))

    def _refuse_at_a_glance(self, texts: Iterable[str], markers: int = 0) -> None:
        """Refuse what exceeds the context however it is tokenised; what is not far beyond it is counted exactly."""
        fewest = markers + sum(map(len, texts)) // self._longest_token
        if fewest >= max(self.context_tokens, COUNTED):
            raise ContextError(
                f"the prompt has at least {fewest:,} tokens, the context of {self.name} holds "
                f"{self.context_tokens:,}; shorten it or begin a new conversation"
            )

    @cached_property
    def _longest_token(self) -> int:
        """Bytes, and so at least as many as the characters of any token."""
        return max(map(len, self.subject.tokenizer.ranks))

    def _sampling(self, prompt: tuple[int, ...], options: AnswerOptions) -> Sampling:
        room = self.context_tokens - len(prompt)
        if room < max(1, options.tokens or 1):
            wanted = f" and {options.tokens:,} for the answer" if options.tokens else ""
            raise ContextError(
                f"the prompt has {len(prompt):,} tokens{wanted}, the context of {self.name} holds "
                f"{self.context_tokens:,}; shorten it or begin a new conversation"
            )
        most = room if options.most_tokens is None else min(room, options.most_tokens)
        return Sampling(
            max_tokens=options.tokens or most,
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            seed=options.seed,
        )


@dataclass
class _Completion:
    """Pieces of a completion are all prose."""

    stream: TextStream

    def push(self, token: int) -> list[Part]:
        return _prose(self.stream.push(token))

    def finish(self) -> list[Part]:
        return _prose(self.stream.finish())


def _prose(text: str) -> list[Part]:
    return [Part("text", text)] if text else []
