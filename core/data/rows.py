"""Packed rows on disk: a raw little-endian matrix [rows, T+1] of token ids, and a JSON file that describes it.

The matrix is memory-mapped, so seeking to any row costs nothing, and what step s reads is a function of s
alone. `{name}.json` is written last: a matrix without it is unfinished.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

import numpy as np
import numpy.typing as npt

from core.stages.context import StageError

DTYPES = ((1 << 8, "uint8"), (1 << 16, "uint16"), (1 << 32, "uint32"))


def dtype_name(vocabulary_size: int) -> str:
    """The smallest unsigned type that holds ids below `vocabulary_size`: uint16 up to 65,536 (uint8: a mask)."""
    return next(name for limit, name in DTYPES if vocabulary_size <= limit)


@dataclass
class RowsWriter:
    """Writes `{name}.bin` row by row and, when its `with` block ends well, `{name}.json` with `statistics`."""

    folder: Path
    name: str
    row_tokens: int  # T + 1
    vocabulary_size: int
    statistics: dict[str, object] = field(default_factory=dict)  # JSON values, written beside the shape
    count: int = field(default=0, init=False)  # rows written

    def __enter__(self) -> Self:
        self._dtype = np.dtype(dtype_name(self.vocabulary_size)).newbyteorder("<")
        self._file: BinaryIO = (self.folder / f"{self.name}.bin").open("wb")
        return self

    def append(self, rows: npt.ArrayLike) -> None:
        """Write one row [T+1], or several [n, T+1]; raise `ValueError` for another shape or an id outside [0, V)."""
        matrix = np.atleast_2d(np.asarray(rows))
        if matrix.ndim != 2 or matrix.shape[1] != self.row_tokens:
            raise ValueError(f"{self.name}: rows of shape {matrix.shape}, expected [n, {self.row_tokens}]")
        if matrix.size and (int(matrix.min()) < 0 or int(matrix.max()) >= self.vocabulary_size):
            raise ValueError(
                f"{self.name}: ids {matrix.min()} ... {matrix.max()} leave the vocabulary of {self.vocabulary_size}"
            )
        self._file.write(matrix.astype(self._dtype).tobytes())
        self.count += len(matrix)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if kind is not None:
            return
        shape = {"rows": self.count, "row_tokens": self.row_tokens, "dtype": dtype_name(self.vocabulary_size)}
        text = json.dumps({**shape, **self.statistics}, indent=2) + "\n"
        (self.folder / f"{self.name}.json").write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class Rows:
    """Rows of one artifact, memory-mapped. `rows[i:j]` is a fresh int64 array [j-i, T+1]."""

    matrix: np.ndarray  # [count, T+1], stored type
    statistics: dict[str, object]

    @classmethod
    def open(cls, folder: Path, name: str = "rows") -> Rows:
        """Map `{name}.bin` in `folder`; raise `StageError` when its size is not what `{name}.json` says."""
        description, matrix = folder / f"{name}.json", folder / f"{name}.bin"
        for path in (description, matrix):
            if not path.is_file():
                raise StageError(f"{folder} holds no packed rows called {name!r}: {path.name} is missing")
        statistics = json.loads(description.read_text(encoding="utf-8"))
        rows, row_tokens = statistics["rows"], statistics["row_tokens"]
        dtype = np.dtype(statistics["dtype"]).newbyteorder("<")
        expected, actual = rows * row_tokens * dtype.itemsize, matrix.stat().st_size
        if expected != actual:
            raise StageError(
                f"{matrix} has {actual:,} bytes, but {description.name} says {rows:,} rows of {row_tokens:,} "
                f"{dtype.name} = {expected:,} bytes; make the stage again"
            )
        if rows == 0:  # an empty file cannot be mapped
            return cls(np.empty((0, row_tokens), dtype), statistics)
        return cls(np.memmap(matrix, dtype=dtype, mode="r", shape=(rows, row_tokens)), statistics)

    @property
    def count(self) -> int:
        """Rows in the matrix."""
        return int(self.matrix.shape[0])

    @property
    def row_tokens(self) -> int:
        """T + 1."""
        return int(self.matrix.shape[1])

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: slice) -> npt.NDArray[np.int64]:
        return self.matrix[rows].astype(np.int64)


@dataclass(frozen=True)
class Piece:
    """Rows that stand one behind another both in the stream and in a group."""

    visit: int  # of a group, counted through all epochs: group g is visited at g, groups + g, 2 * groups + g ...
    rows: slice  # of the group


class StreamLayout:
    """Where the rows of an endless stream are: epoch e begins at row e * `rows_per_epoch`, with the first group."""

    def __init__(self, counts: Sequence[int]) -> None:
        """`counts`: rows of each group. Raises `StageError` when there is none."""
        self.groups = len(counts)
        self._ends = np.cumsum(counts, dtype=np.int64)
        self._counts = tuple(counts)
        self.rows_per_epoch = sum(counts)
        if self.rows_per_epoch == 0:
            raise StageError("a stream needs at least one packed row; pack more documents")

    def pieces(self, start: int, count: int) -> Iterator[Piece]:
        """Rows [start, start + count) of the stream, group by group."""
        while count > 0:
            epoch, position = divmod(start, self.rows_per_epoch)
            index = int(np.searchsorted(self._ends, position, side="right"))
            end = int(self._ends[index])
            length = min(count, end - position)
            first = position - (end - self._counts[index])
            yield Piece(epoch * self.groups + index, slice(first, first + length))
            start, count = start + length, count - length


class RowStream(Protocol):
    """An endless stream of packed rows, wherever they are."""

    @property
    def row_tokens(self) -> int:
        """T + 1."""

    @property
    def rows_per_epoch(self) -> int:
        """Rows until the first comes again."""

    def read(self, start: int, count: int) -> npt.NDArray[np.int64]:
        """Rows [start, start + count) of the stream: int64 [count, T+1]."""


class Stream:
    """Groups on local disk, one after another, as one stream."""

    def __init__(self, groups: Sequence[Rows]) -> None:
        """Raise `StageError` when the groups differ in T+1 or hold no row at all."""
        widths = sorted({group.row_tokens for group in groups})
        if len(widths) > 1:
            raise StageError(f"a stream cannot mix rows of {' and '.join(map(str, widths))} tokens; pack them alike")
        self._groups = tuple(groups)
        self._layout = StreamLayout([group.count for group in groups])
        self.rows_per_epoch = self._layout.rows_per_epoch
        self.row_tokens = widths[0]

    def read(self, start: int, count: int) -> npt.NDArray[np.int64]:
        """Rows [start, start + count) of the stream, wrapping around at its end: int64 [count, T+1]."""
        return joined(
            [self._groups[piece.visit % len(self._groups)][piece.rows] for piece in self._layout.pieces(start, count)],
            self.row_tokens,
        )


def joined(parts: Sequence[npt.NDArray[np.int64]], row_tokens: int) -> npt.NDArray[np.int64]:
    """Parts [n, T+1] behind one another; there may be none."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([np.empty((0, row_tokens), dtype=np.int64), *parts])
