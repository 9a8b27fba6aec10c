"""Which rows a step trains on: a function of the step alone, whatever the machine.

Step s reads rows [s R, (s+1) R) of the stream. Targets that are not supervised are IGNORED; how many are
supervised in the whole step is known to every rank without communication, because all of them can read the mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

from core.data.rows import Rows, RowStream
from core.model.loss import split_rows
from core.stages.context import StageError


class Batches(Protocol):
    """Rows addressed by their number in the stream."""

    @property
    def rows_per_step(self) -> int:
        """R."""

    @property
    def sequence_length(self) -> int:
        """T."""

    def read(self, start: int, count: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets, int64 [count, T] each, of rows [start, start + count)."""

    def supervised(self, start: int, count: int) -> int:
        """How many targets of rows [start, start + count) are supervised."""


@dataclass(frozen=True)
class PackedBatches:
    """Rows of a packed stream, every target supervised; after the last row comes the first again."""

    stream: RowStream
    rows_per_step: int

    @property
    def sequence_length(self) -> int:
        """T."""
        return self.stream.row_tokens - 1

    def read(self, start: int, count: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets [count, T]."""
        return split_rows(self.stream.read(start, count))

    def supervised(self, start: int, count: int) -> int:
        """All of them."""
        return count * self.sequence_length


@dataclass(frozen=True)
class MixtureBatches:
    """Masked rows of a mixture, read once; the last step is filled up with rows that supervise nothing."""

    rows: Rows
    mask: np.ndarray  # uint8 [rows, T+1]
    rows_per_step: int

    @property
    def sequence_length(self) -> int:
        """T."""
        return self.rows.row_tokens - 1

    @property
    def steps(self) -> int:
        """Optimizer steps of one pass."""
        return -(-self.rows.count // self.rows_per_step)

    def read(self, start: int, count: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets [count, T]."""
        tokens = np.zeros((count, self.rows.row_tokens), dtype=np.int64)
        supervised = np.zeros((count, self.rows.row_tokens), dtype=np.uint8)
        end = min(start + count, self.rows.count)
        if start < end:
            tokens[: end - start] = self.rows[start:end]
            supervised[: end - start] = self.mask[start:end]
        return split_rows(tokens, supervised)

    def supervised(self, start: int, count: int) -> int:
        """Targets whose mask is 1."""
        return int(np.count_nonzero(self.mask[start : start + count, 1:]))


def open_mixture(folder: Path, split: str) -> tuple[Rows, np.ndarray]:
    """Map the rows and the mask of one split (`train`, `validation`) of a mixture artifact."""
    rows = Rows.open(folder, f"{split}.rows")
    path = folder / f"{split}.mask.bin"
    size = path.stat().st_size if path.is_file() else 0
    if size != rows.matrix.size:
        raise StageError(
            f"{path} has {size:,} bytes, {rows.matrix.size:,} tokens need one each; make the mixture again"
        )
    if size == 0:
        return rows, np.zeros((0, rows.row_tokens), dtype=np.uint8)
    return rows, np.memmap(path, dtype=np.uint8, mode="r", shape=(rows.count, rows.row_tokens))


def rows_per_step(batch_tokens: int, sequence_length: int) -> int:
    """R = B / T, which must be whole."""
    if batch_tokens % sequence_length:
        raise StageError(f"a batch of {batch_tokens:,} tokens is not a whole number of rows of {sequence_length:,}")
    return batch_tokens // sequence_length
