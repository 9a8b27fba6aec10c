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
        row: list[Tokens] = []
        space = self.capacity
        buffer = BestFitBuffer(documents, self.buffer_documents)
        while buffer.fill():
            piece = buffer.take_longest(space)
            if piece is None:
                piece = buffer.take_shortest()
            self.cropped += max(0, len(piece) - space)
            piece = piece[:space]
            self.placed.append(buffer.taken)
            self.placed_tokens.append(len(piece))
            row.append(piece)
            space -= len(piece)
            if space == 0:
                self.kept += self.capacity
                yield np.concatenate(row)
                row, space = [], self.capacity
        self.dropped += self.capacity - space
