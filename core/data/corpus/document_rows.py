"""Documents of one parquet, JSON lines or text file, row by row, good and bad ones told apart.

Guarantees: memory is bounded by one row group of parquet, or one document; a `Bad` row is one that no corpus can hold.
Files may be compressed (`.gz`, `.zst`, `.bz2`, `.xz` after the format's name).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from core.data.corpus.artifact import LONGEST_DOCUMENT, column_batches
from core.stages.context import StageError

LONGEST_BLANK = 500_000  # characters of white space in a row; the pattern matcher of tiktoken gives up at 1,000,000
LONGEST_LINE = 2 * LONGEST_DOCUMENT  # bytes of one JSON line; most characters need no escape
BATCH = 256
BLANK = re.compile(r"\s+")


@dataclass(frozen=True)
class Bad:
    """A row that is no document, and why."""

    why: str


Reader = Callable[[IO[bytes], str, str], Iterator[str | Bad]]


def document_rows(path: Path, name: str, column: str) -> Iterator[str | Bad]:
    """Rows of the file at `path`, which the source calls `name`; raises `StageError` where no row can be told."""
    suffixes = [suffix for suffix in Path(name).suffixes if suffix in READERS]
    if not suffixes:
        raise StageError(f"{name} is of no known format; its name must end in {', '.join(READERS)}")
    compression = fsspec.utils.infer_compression(name)
    try:
        with fsspec.open(path.as_uri(), "rb", compression=compression) as file:
            yield from READERS[suffixes[-1]](file, name, column)
    except (pa.ArrowException, OSError, EOFError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StageError(f"{name} cannot be read: {reason}; put a whole file there") from error


def checked(value: object) -> str | Bad:
    """A document, if `value` can be one."""
    if value is None:
        return Bad("has no text")
    if not isinstance(value, str):
        return Bad(f"holds {type(value).__name__}, not text")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        return Bad("holds half of a surrogate pair, which is no text")
    if size > LONGEST_DOCUMENT:
        return Bad(f"has {size:,} bytes, {LONGEST_DOCUMENT:,} at most")
    if len(value) > LONGEST_BLANK and any(len(blank[0]) > LONGEST_BLANK for blank in BLANK.finditer(value)):
        return Bad(f"has more than {LONGEST_BLANK:,} characters of white space in a row")
    return value


def _parquet_rows(file: IO[bytes], name: str, column: str) -> Iterator[str | Bad]:
    with pq.ParquetFile(file) as table:
        _require_column(column, table.schema_arrow.names, name)
        for values in column_batches(table, column, BATCH):
            for scalar in values:
                yield _parquet_row(scalar)


def _parquet_row(scalar: pa.Scalar) -> str | Bad:
    try:
        return checked(scalar.as_py())
    except UnicodeDecodeError as error:
        return _not_utf8(error)


def _json_rows(file: IO[bytes], name: str, column: str) -> Iterator[str | Bad]:
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass
            yield Bad(f"is a line of more than {LONGEST_LINE:,} bytes")
        elif line.strip():
            yield _json_row(line, column)


def _json_row(line: bytes, column: str) -> str | Bad:
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError as error:
        return _not_utf8(error)
    except (ValueError, RecursionError) as error:
        return Bad(f"is no JSON: {error}")
    if not isinstance(row, dict):
        return Bad(f"is no JSON object with a field {column!r}")
    return checked(row[column]) if column in row else Bad(f"has no field {column!r}")


def _text_rows(file: IO[bytes], name: str, column: str) -> Iterator[str | Bad]:
    """The whole file is one document."""
    content = file.read(LONGEST_DOCUMENT + 1)
    if len(content) > LONGEST_DOCUMENT:
        yield Bad(f"has more than {LONGEST_DOCUMENT:,} bytes")
        return
    try:
        yield checked(content.decode())
    except UnicodeDecodeError as error:
        yield _not_utf8(error)


def _not_utf8(error: UnicodeDecodeError) -> Bad:
    return Bad(f"is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}")


def _require_column(column: str, names: list[str], file: str) -> None:
    if column not in names:
        raise StageError(f"{file} has no column {column!r}; its columns are {', '.join(names)}")


READERS: dict[str, Reader] = {
    ".parquet": _parquet_rows,
    ".jsonl": _json_rows,
    ".ndjson": _json_rows,
    ".txt": _text_rows,
    ".md": _text_rows,
}
