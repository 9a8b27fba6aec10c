"""From a conversation to token ids and the mask of what the model is taught to say: the only place that knows how.

    <|bos|>, then turn by turn
    user       <|user_start|> text <|user_end|>
    assistant  <|assistant_start|> part ... part <|assistant_end|>, where a part is
                 text
                 <|python_start|> expression <|python_end|>
                 <|output_start|> what it printed <|output_end|>

Supervised (mask 1) is what the assistant produces itself: its texts, its Python calls with both markers, and
<|assistant_end|>. Everything else is given to it, the output of Python included. Adjacent texts of one message are
tokenised as one string, as a chat template does; text that spells a special token stays text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

from core.data.tokenizer import Tokenizer
from core.posttraining.conversation import Conversation, Message, Part


class PromptTooLongError(ValueError):
    """A prompt that does not fit; nothing of it is cut silently."""


@dataclass(frozen=True)
class Rendered:
    """Ids and mask of equal length, after truncation, and how many tokens that cut off at the end."""

    tokens: tuple[int, ...]
    mask: tuple[int, ...]  # 1: supervised as a target
    cut: int

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def supervised(self) -> int:
        """How many tokens are supervised."""
        return sum(self.mask)


def render(conversation: Conversation, tokenizer: Tokenizer, max_tokens: int) -> Rendered:
    """Render a whole conversation, truncated to `max_tokens`."""
    line = _render_messages(conversation, tokenizer)
    cut = max(0, len(line.tokens) - max_tokens)
    return Rendered(tuple(line.tokens[:max_tokens]), tuple(line.mask[:max_tokens]), cut)


def render_prompt(conversation: Conversation, tokenizer: Tokenizer, max_tokens: int) -> list[int]:
    """Ids after which the model answers: a conversation that ends with the user, and <|assistant_start|>.

    Raises `PromptTooLongError` beyond `max_tokens`, ValueError when the last word is the assistant's.
    """
    if conversation.messages[-1].role == "assistant":
        raise ValueError("a prompt ends with a user message; take Conversation.before_answer()")
    line = _render_messages(conversation, tokenizer)
    line.special("<|assistant_start|>", 0)
    if len(line.tokens) > max_tokens:
        raise PromptTooLongError(
            f"the conversation has {len(line.tokens):,} tokens, {max_tokens:,} fit; shorten it or begin a new one"
        )
    return line.tokens


@dataclass
class _Line:
    tokenizer: Tokenizer
    tokens: list[int] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)

    def special(self, name: str, supervised: int) -> None:
        self._append([self.tokenizer.special(name)], supervised)

    def text(self, text: str, supervised: int) -> None:
        self._append(self.tokenizer.encode(text), supervised)

    def _append(self, ids: list[int], supervised: int) -> None:
        self.tokens += ids
        self.mask += [supervised] * len(ids)


def _render_messages(conversation: Conversation, tokenizer: Tokenizer) -> _Line:
    line = _Line(tokenizer)
    line.special("<|bos|>", 0)
    for message in conversation.messages:
        if message.role == "user":
            line.special("<|user_start|>", 0)
            line.text(message.text, 0)
            line.special("<|user_end|>", 0)
        else:
            line.special("<|assistant_start|>", 0)
            for part in _merge_texts(message):
                _render_part(line, part)
            line.special("<|assistant_end|>", 1)
    return line


def _render_part(line: _Line, part: Part) -> None:
    match part.kind:
        case "text":
            line.text(part.text, 1)
        case "python":
            line.special("<|python_start|>", 1)
            line.text(part.text, 1)
            line.special("<|python_end|>", 1)
        case "python_output":
            line.special("<|output_start|>", 0)
            line.text(part.text, 0)
            line.special("<|output_end|>", 0)


def _merge_texts(message: Message) -> Iterator[Part]:
    for is_text, parts in groupby(message.parts, key=lambda part: part.kind == "text"):
        if is_text:
            yield Part("text", "".join(part.text for part in parts))
        else:
            yield from parts
