"""Text in, text out: how a prompt opens, where an answer stops, and what its tokens say while they come.

A model of both directions is told its way after bos; what it writes backward stands before what it wrote so far. Bytes
of a character whose other tokens are still to come are held back, so every piece of text is whole characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from core.data.direction import Reading, Way, readings
from core.data.tokenizer import Tokenizer
from core.posttraining.conversation import Conversation, Message, Part, PartKind
from core.posttraining.rendering import render_prompt
from core.recipes.recipe import Direction


@dataclass(frozen=True)
class Speaker:
    """What a model of `direction` reads and writes, as text."""

    tokenizer: Tokenizer
    direction: Direction

    @property
    def ways(self) -> tuple[Way, ...]:
        """The ways in which it completes text; the first is the one to assume."""
        return tuple(self._readings)

    def completion_prompt(self, text: str, way: Way) -> tuple[int, ...]:
        """Ids after which the model goes on with `text`, or backward says what stands before it; `text` may be empty.

        Raises ValueError for a way that is not one of `ways`.
        """
        tokens = self._reading(way).sequence(self.tokenizer.encode_array(text))
        return tuple(tokens.tolist())

    def chat_prompt(self, conversation: Conversation, *, max_tokens: int) -> tuple[int, ...]:
        """Ids after which the model answers a conversation that ends with the user.

        Raises `PromptTooLongError` beyond `max_tokens`, ValueError when the model only reads backward.
        """
        opening = self._reading("forward").opening
        rendered = render_prompt(conversation, self.tokenizer, max_tokens - len(opening) + 1)
        return (*opening, *rendered[1:])

    @cached_property
    def completion_stops(self) -> frozenset[int]:
        """Tokens that end a completion: the next document."""
        return frozenset({self.tokenizer.bos})

    @cached_property
    def chat_stops(self) -> frozenset[int]:
        """Tokens that end an assistant's turn."""
        return frozenset({self.tokenizer.special("<|assistant_end|>"), self.tokenizer.bos})

    def text(self, tokens: Sequence[int], way: Way) -> str:
        """What `tokens`, in the order in which they were written, say in the order in which they are read."""
        return self.tokenizer.decode(list(tokens)[:: self._reading(way).stride])

    @cached_property
    def _readings(self) -> dict[Way, Reading]:
        return dict(readings(self.direction, self.tokenizer))

    def _reading(self, way: Way) -> Reading:
        if way not in self._readings:
            raise ValueError(f"this model reads {' and '.join(self.ways)}, not {way}")
        return self._readings[way]


class TextStream:
    """Text of one completion, piece by piece: a forward piece follows what came before, a backward one precedes it.

    Special tokens say their names. Bytes that are no UTF-8 become U+FFFD.
    """

    def __init__(self, tokenizer: Tokenizer, way: Way = "forward") -> None:
        self._encoding = tokenizer.encoding
        self._way = way
        self._held = b""

    def push(self, token: int) -> str:
        """The characters that `token` completes, maybe none."""
        new = self._encoding.decode_single_token_bytes(token)
        if self._way == "forward":
            data = self._held + new
            whole = len(data) - _incomplete_end(data)
            text, self._held = data[:whole], data[whole:]
        else:
            data = new + self._held
            headless = _headless_start(data)
            self._held, text = data[:headless], data[headless:]
        return text.decode("utf-8", errors="replace")

    def finish(self) -> str:
        """What is still held back, when nothing more comes."""
        held, self._held = self._held, b""
        return held.decode("utf-8", errors="replace")


class AnswerStream:
    """An assistant's turn while it is written: prose, calls of Python and their output, told apart by their markers."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._kinds: dict[int, PartKind] = {
            tokenizer.special("<|python_start|>"): "python",
            tokenizer.special("<|python_end|>"): "text",
            tokenizer.special("<|output_start|>"): "python_output",
            tokenizer.special("<|output_end|>"): "text",
        }
        self._text = TextStream(tokenizer)
        self._parts: list[tuple[PartKind, list[str]]] = [("text", [])]

    def push(self, token: int) -> list[Part]:
        """What `token` adds: at most one piece of the part under way."""
        if token not in self._kinds:
            return self._add(self._text.push(token))
        rest = self.finish()
        self._parts.append((self._kinds[token], []))
        return rest

    def finish(self) -> list[Part]:
        """What was held back, when nothing more comes."""
        return self._add(self._text.finish())

    @property
    def message(self) -> Message:
        """The turn so far, fit for the history of a conversation: at least one part, if an empty one."""
        parts = tuple(Part(kind, "".join(pieces)) for kind, pieces in self._parts if pieces)
        return Message("assistant", parts or (Part("text", ""),))

    def _add(self, text: str) -> list[Part]:
        if not text:
            return []
        kind, pieces = self._parts[-1]
        pieces.append(text)
        return [Part(kind, text)]


def _incomplete_end(data: bytes) -> int:
    """How many bytes at the end begin a UTF-8 character without completing it: 0 to 3."""
    for length in range(1, min(3, len(data)) + 1):
        lead = data[-length]
        if lead & 0b1100_0000 != 0b1000_0000:  # no continuation: ASCII, or the first byte of a character
            return length if _character_bytes(lead) > length else 0
    return 0


def _headless_start(data: bytes) -> int:
    """How many bytes at the start may continue a UTF-8 character whose first byte is yet to come: 0 to 3."""
    count = 0
    while count < min(3, len(data)) and data[count] & 0b1100_0000 == 0b1000_0000:
        count += 1
    return count


def _character_bytes(lead: int) -> int:
    """Length of the UTF-8 character that begins with `lead`."""
    if lead >= 0b1111_0000:
        return 4
    if lead >= 0b1110_0000:
        return 3
    return 2 if lead >= 0b1100_0000 else 1
