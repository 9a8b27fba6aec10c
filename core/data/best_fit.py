"""BOS-aligned best-fit packing: full rows, each begun by a document's first token, as few crops as a buffer allows.

Rule (nanochat's loader): from a buffer of documents take the largest that fits the rest of the row entirely;
if none fits, crop the shortest to fill the row and discard its remainder. The buffer makes the rows a function of the
document sequence alone.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from core.data.best_fit_buffer import BestFitBuffer

Tokens = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Head:
    """A document longer than a row: no row holds more than these tokens of it, its length says when it is taken."""

    tokens: Tokens  # [capacity]
    length: int

    def __len__(self) -> int:
        return self.length


@dataclass
class BestFitPacker:
    """Packs documents into rows of `capacity` tokens and counts where every token went: kept + cropped + dropped."""

    capacity: int  # T + 1
    buffer_documents: int
    kept: int = 0  # tokens in full rows
    cropped: int = 0  # tokens cut off documents
    dropped: int = 0  # tokens of the last row, which stayed partial
    placed: array[int] = field(default_factory=lambda: array("I"))  # number of each document, in the order of the rows
    placed_tokens: array[int] = field(default_factory=lambda: array("I"))  # how many tokens of each are there

    def rows(self, documents: Iterable[Tokens]) -> Iterator[Tokens]:
        """Yield full rows [capacity]; every document is non-empty and begins with BOS."""
        for block in self.blocks(documents, rows=1):
            yield from block

    def blocks(self, documents: Iterable[Tokens], rows: int) -> Iterator[Tokens]:
        """Yield the same rows, `rows` at a time [rows, capacity] and the rest at the end: tokens are copied once."""
        pieces: list[Tokens] = []  # of the rows that are not yielded yet
        block = rows * self.capacity
        filled = 0  # tokens in `pieces`
        buffer = BestFitBuffer(map(self._waiting, documents), self.buffer_documents)
        while buffer.fill():
            space = self.capacity - filled % self.capacity
            document = buffer.take_longest(space)
            if document is None:
                document = buffer.take_shortest()
                self.cropped += len(document) - space
            piece = (document.tokens if isinstance(document, Head) else document)[:space]
            self.placed.append(buffer.taken)
            self.placed_tokens.append(len(piece))
            pieces.append(piece)
            filled += len(piece)
            if filled == block:
                yield self._full_rows(pieces)
                pieces, filled = [], 0
        if filled >= self.capacity:
            yield self._full_rows(pieces)
        self.dropped += filled % self.capacity

    def _waiting(self, document: Tokens) -> Tokens | Head:
        """The document as it waits in the buffer: without what no row can hold."""
        if len(document) <= self.capacity:
            return document
        return Head(document[: self.capacity].copy(), len(document))

    def _full_rows(self, pieces: list[Tokens]) -> Tokens:
        tokens = np.concatenate(pieces)
        rows = tokens[: len(tokens) - len(tokens) % self.capacity].reshape(-1, self.capacity)
        self.kept += rows.size
        return rows
