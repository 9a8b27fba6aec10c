"""BOS-aligned best-fit packing: full rows, each begun by a document's first token, as few crops as a buffer allows.

Rule (nanochat's loader): from a buffer of documents take the largest that fits the rest of the row entirely;
if none fits, crop the shortest to fill the row and discard its remainder. Equal lengths leave in the order in which
they came. The buffer holds exactly `buffer_documents` while documents last, so the rows are a function of the
document sequence alone.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.uint32]


@dataclass
class BestFitPacker:
    """Packs documents into rows of `capacity` tokens and counts where every token went: kept + cropped + dropped."""

    capacity: int  # T + 1
    buffer_documents: int
    kept: int = 0  # tokens in full rows
    cropped: int = 0  # tokens cut off documents
    dropped: int = 0  # tokens of the last row, which stayed partial
    _order: list[tuple[int, int]] = field(default_factory=list)  # (length, arrival) of the buffer, ascending
    _documents: dict[int, Tokens] = field(default_factory=dict)  # arrival -> document

    def rows(self, documents: Iterable[Tokens]) -> Iterator[Tokens]:
        """Yield full rows [capacity]; every document is non-empty and begins with BOS."""
        row: list[Tokens] = []
        space = self.capacity
        arrivals = enumerate(documents)
        while self._fill(arrivals):
            piece = self._take(space)
            self.cropped += max(0, len(piece) - space)
            piece = piece[:space]
            row.append(piece)
            space -= len(piece)
            if space == 0:
                self.kept += self.capacity
                yield np.concatenate(row)
                row, space = [], self.capacity
        self.dropped += self.capacity - space

    def _fill(self, arrivals: Iterator[tuple[int, Tokens]]) -> bool:
        """Top the buffer up; False once it is empty and no document is left."""
        while len(self._order) < self.buffer_documents:
            arrival, document = next(arrivals, (-1, None))
            if document is None:
                break
            insort(self._order, (len(document), arrival))
            self._documents[arrival] = document
        return bool(self._order)

    def _take(self, space: int) -> Tokens:
        """Remove the largest document of at most `space` tokens, else the shortest; the first to come of equals."""
        fitting = bisect_left(self._order, (space + 1, -1))  # how many fit
        length = self._order[max(0, fitting - 1)][0]
        _, arrival = self._order.pop(bisect_left(self._order, (length, -1)))
        return self._documents.pop(arrival)
