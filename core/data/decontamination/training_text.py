"""Packed rows as the text that a model reads in them: documents in the order of their text, whichever way it reads.

Working from the rows, not from the corpus, what was cropped or never packed counts as not read. Memory is bounded by a
block of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from core.data.decontamination.words import BOUNDARY
from core.data.rows import Rows
from core.data.tokenizer import Tokenizer
from core.recipes.vocabulary import BACKWARD

BLOCK_TOKENS = 1 << 18  # about a megabyte of text
BETWEEN = BOUNDARY.encode("utf-8", "surrogateescape")  # one byte, which is nowhere in UTF-8


@dataclass(frozen=True)
class RowBlock:
    """Rows of a group: ids [n, T+1], of which the first is row `first_row`."""

    first_row: int
    matrix: npt.NDArray[np.integer]


@dataclass(frozen=True)
class TextBlock:
    """The same as text, `BOUNDARY` before each document; `begins` [documents] is where each stands in its group."""

    text: str
    begins: npt.NDArray[np.int64]  # row * (T+1) + place in the row


def row_blocks(rows: Rows, end_row: int) -> Iterator[RowBlock]:
    """Rows [0, end_row) of a group, some at a time."""
    step = max(1, BLOCK_TOKENS // rows.row_tokens)
    for first in range(0, end_row, step):
        yield RowBlock(first, rows.matrix[first : min(first + step, end_row)])


@dataclass(frozen=True)
class RowReader:
    """Turns rows of token ids back into text."""

    tokenizer: Tokenizer

    def text(self, block: RowBlock) -> TextBlock:
        """The text of some rows, each of which begins with a document."""
        tokens = block.matrix.ravel()
        begins = np.flatnonzero(tokens == self.tokenizer.bos)
        content = self._bytes(self._in_order_of_text(tokens, begins))
        text = content.decode("utf-8", "surrogateescape")
        return TextBlock(text, begins + block.first_row * block.matrix.shape[1])

    def _bytes(self, tokens: npt.NDArray[np.integer]) -> bytes:
        """The bytes of all tokens behind one another: gathered at once, four times as fast as joining them."""
        vocabulary, starts, lengths = self._vocabulary
        counts = lengths[tokens]
        ends = np.cumsum(counts)
        places = np.arange(ends[-1] if len(ends) else 0)
        content: bytes = vocabulary[places + np.repeat(starts[tokens] - ends + counts, counts)].tobytes()
        return content

    def _in_order_of_text(
        self, tokens: npt.NDArray[np.integer], begins: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.integer]:
        """The tokens with each document that is read from its end turned round, behind its BOS."""
        if self._backward is None or not len(tokens):
            return tokens
        turned = tokens.copy()
        for start, end in zip(begins, [*begins[1:], len(tokens)], strict=True):
            if start + 1 < end and tokens[start + 1] == self._backward:
                turned[start + 1 : end] = tokens[start + 1 : end][::-1]
        return turned

    @cached_property
    def _vocabulary(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The bytes of all tokens, where those of each begin [V], how many they are [V].

        A special token has none, but for BOS, which stands between documents.
        """
        table = [b""] * self.tokenizer.vocabulary_size
        for content, rank in self.tokenizer.ranks.items():
            table[rank] = content
        table[self.tokenizer.bos] = BETWEEN
        lengths = np.array([len(content) for content in table], np.int64)
        return np.frombuffer(b"".join(table), np.uint8), np.cumsum(lengths) - lengths, lengths

    @cached_property
    def _backward(self) -> int | None:
        known = BACKWARD in self.tokenizer.special_tokens
        return self.tokenizer.special(BACKWARD) if known else None
