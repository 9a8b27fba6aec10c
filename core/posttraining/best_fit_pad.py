"""Best-fit packing of conversations into rows of T+1 tokens: never cropped, so rows are padded.

Rule (nanochat's fine-tuning loader): from a buffer of 100 conversations take the longest that fits the rest of the
row; if none fits, fill the rest with BOS, mask 0. The rows are a function of the sequence of conversations alone.

A conversation that teaches nothing (no supervised token is left after truncation) is dropped and counted. So every
row has a supervised token, and no batch of whole rows divides a loss by zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.data.best_fit_buffer import BestFitBuffer
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

    @property
    def padding_share(self) -> float:
        """Padding as a share of all tokens in rows."""
        return self.padding / (self.rows * self.capacity) if self.rows else 0.0

    def pack(self, conversations: Iterable[Rendered]) -> Iterator[PaddedRow]:
        """Yield rows; every conversation begins with BOS and has at most `capacity` tokens, else ValueError."""
        row: list[Rendered] = []
        space = self.capacity
        buffer = BestFitBuffer(self._teaching(conversations), self.buffer_conversations)
        while buffer.fill():
            conversation = buffer.take_longest(space)
            if conversation is None:
                yield self._finish(row, space)
                row, space = [], self.capacity
            else:
                row.append(conversation)
                space -= len(conversation)
        if row:
            yield self._finish(row, space)

    def _teaching(self, conversations: Iterable[Rendered]) -> Iterator[Rendered]:
        for conversation in conversations:
            if len(conversation) > self.capacity:
                raise ValueError(
                    f"a conversation of {len(conversation)} tokens exceeds a row of {self.capacity}; truncate it"
                )
            if conversation.supervised:
                yield conversation
            else:
                self.dropped += 1

    def _finish(self, row: list[Rendered], space: int) -> PaddedRow:
        self.rows += 1
        self.padding += space
        tokens = [token for conversation in row for token in conversation.tokens] + [self.bos] * space
        mask = [bit for conversation in row for bit in conversation.mask] + [0] * space
        return PaddedRow(np.array(tokens, dtype=np.uint32), np.array(mask, dtype=np.uint8))
