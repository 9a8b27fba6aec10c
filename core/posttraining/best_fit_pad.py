"""Best-fit packing of conversations into rows of T+1 tokens: never cropped, so rows are padded.

Rule (nanochat's fine-tuning loader): from a buffer of 100 conversations take the longest that fits the rest of the
row; if none fits, fill the rest with BOS, mask 0. Equal lengths leave in the order in which they came. The buffer is
topped up before every choice, so the rows are a function of the sequence of conversations alone.

A conversation that teaches nothing (no supervised token is left after truncation) is dropped and counted. So every
row has a supervised token, and no batch of whole rows divides a loss by zero.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from core.posttraining.rendering import Rendered

BUFFER_CONVERSATIONS = 100


@dataclass(frozen=True)
class PaddedRow:
    """One row: ids uint32 [T+1] and mask uint8 [T+1], 1 where the token is supervised as a target."""

    tokens: npt.NDArray[np.uint32]
    mask: npt.NDArray[np.uint8]


@dataclass
class BestFitPadPacker:
    """Packs conversations into rows of `capacity` tokens and counts what it padded and dropped."""

    capacity: int  # T + 1
    bos: int
    buffer_conversations: int = BUFFER_CONVERSATIONS
    rows: int = 0
    padding: int = 0  # tokens
    dropped: int = 0  # conversations without a supervised token
    _order: list[tuple[int, int]] = field(default_factory=list)  # (length, arrival) of the buffer, ascending
    _waiting: dict[int, Rendered] = field(default_factory=dict)  # arrival -> conversation

    @property
    def padding_share(self) -> float:
        """Padding as a share of all tokens in rows."""
        return self.padding / (self.rows * self.capacity) if self.rows else 0.0

    def pack(self, conversations: Iterable[Rendered]) -> Iterator[PaddedRow]:
        """Yield rows; every conversation begins with BOS and has at most `capacity` tokens, else ValueError."""
        row: list[Rendered] = []
        space = self.capacity
        arrivals = enumerate(self._teaching(conversations))
        while self._fill(arrivals):
            conversation = self._take(space)
            if conversation is None:
                yield self._finish(row, space)
                row, space = [], self.capacity
            else:
                row.append(conversation)
                space -= len(conversation.tokens)
        if row:
            yield self._finish(row, space)

    def _teaching(self, conversations: Iterable[Rendered]) -> Iterator[Rendered]:
        for conversation in conversations:
            if len(conversation.tokens) > self.capacity:
                raise ValueError(
                    f"a conversation of {len(conversation.tokens)} tokens exceeds a row of {self.capacity}; truncate it"
                )
            if conversation.supervised:
                yield conversation
            else:
                self.dropped += 1

    def _fill(self, arrivals: Iterator[tuple[int, Rendered]]) -> bool:
        """Top the buffer up; False once it is empty and no conversation is left."""
        while len(self._order) < self.buffer_conversations:
            arrival, conversation = next(arrivals, (-1, None))
            if conversation is None:
                break
            insort(self._order, (len(conversation.tokens), arrival))
            self._waiting[arrival] = conversation
        return bool(self._order)

    def _take(self, space: int) -> Rendered | None:
        """Remove the longest conversation of at most `space` tokens, the oldest among equals; None if none fits."""
        beyond = bisect_left(self._order, (space + 1, -1))
        if beyond == 0:
            return None
        longest = self._order[beyond - 1][0]
        _, arrival = self._order.pop(bisect_left(self._order, (longest, -1)))
        return self._waiting.pop(arrival)

    def _finish(self, row: list[Rendered], space: int) -> PaddedRow:
        self.rows += 1
        self.padding += space
        tokens = [token for conversation in row for token in conversation.tokens] + [self.bos] * space
        mask = [bit for conversation in row for bit in conversation.mask] + [0] * space
        return PaddedRow(np.array(tokens, dtype=np.uint32), np.array(mask, dtype=np.uint8))
