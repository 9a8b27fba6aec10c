"""The corpus artifact: parquet shards with one string column `text`, and `corpus.json` that lists them.

Reading streams row groups, so memory is bounded by one of them; a document that is no string, or too long for a
training corpus, is an error that names its file and row, because a corpus with holes is not the one its revision names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.stages.context import StageError

COLUMN = "text"
ROW_GROUP_DOCUMENTS = 1024
ROW_GROUP_CHARACTERS = 64_000_000
LONGEST_DOCUMENT = 50_000_000  # bytes of UTF-8
DESCRIPTION_FILE = "corpus.json"


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One parquet file: its number in the source, and what is in it."""

    number: int
    file: str
    documents: int
    characters: int


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """What `corpus.json` says. `validation_shard` is that shard's number if it is among these, else None."""

    source: str
    revision: str
    validation_shard: int | None
    shards: tuple[Shard, ...]  # by number

    @classmethod
    def load(cls, folder: Path) -> Corpus:
        """Read the corpus artifact in `folder`; raise `StageError` when it is not one."""
        path = folder / DESCRIPTION_FILE
        if not path.is_file():
            raise StageError(f"{folder} holds no corpus: {DESCRIPTION_FILE} is missing")
        fields = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**fields, "shards": tuple(Shard(**shard) for shard in fields["shards"])})

    def save(self, folder: Path) -> None:
        """Write `corpus.json` into `folder`."""
        (folder / DESCRIPTION_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @property
    def training_shards(self) -> tuple[Shard, ...]:
        """Every shard but the held-out one."""
        return tuple(shard for shard in self.shards if shard.number != self.validation_shard)

    def select(self, first: int, end: int) -> tuple[Shard, ...]:
        """Shards [first, end); raise `StageError` when one of them is not in this corpus."""
        chosen = {shard.number: shard for shard in self.shards if first <= shard.number < end}
        missing = [number for number in range(first, end) if number not in chosen]
        if missing:
            have = ", ".join(str(shard.number) for shard in self.shards)
            raise StageError(f"the corpus holds shards {have} of {self.source}, not {missing[0]}; collect that one too")
        return tuple(chosen[number] for number in range(first, end))


def shard_file(number: int) -> str:
    """File name of a shard."""
    return f"shard_{number:05d}.parquet"


def write_documents(path: Path, documents: Iterable[str]) -> None:
    """Write one shard: zstd, row groups of at most 1024 documents, the same bytes for the same documents.

    Memory is bounded by a row group, which ends early at 64 million characters.
    """
    schema = pa.schema([pa.field(COLUMN, pa.string(), nullable=False)])
    with pq.ParquetWriter(
        path,
        schema,
        version="2.6",
        compression="zstd",
        compression_level=3,
        use_dictionary=False,
        store_schema=False,
    ) as writer:
        for group in _row_groups(documents):
            writer.write_table(pa.table({COLUMN: pa.array(group, pa.string())}, schema=schema))


def _row_groups(documents: Iterable[str]) -> Iterator[list[str]]:
    group: list[str] = []
    characters = 0
    for document in documents:
        group.append(document)
        characters += len(document)
        if len(group) == ROW_GROUP_DOCUMENTS or characters >= ROW_GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group


def read_documents(path: Path, batch: int) -> Iterator[list[str]]:
    """Documents of one shard in order, at most `batch` at a time; raise `StageError` for anything else in the file."""
    try:
        with pq.ParquetFile(path) as file:
            _check_column(path, file.schema_arrow)
            row = 0
            for column in column_batches(file, COLUMN, batch):
                if column.null_count:
                    hole = column.is_null().index(True).as_py()
                    raise StageError(
                        f"{path.name}: row {row + hole} has no text; repair or drop that row at the source"
                    )
                _check_lengths(path, row, column)
                yield _texts(path, row, column)
                row += len(column)
    except (pa.ArrowException, OSError) as error:
        raise StageError(f"{path.name} is not a readable parquet file: {_first_line(error)}") from error


def column_batches(file: pq.ParquetFile, column: str, batch: int) -> Iterator[pa.Array]:
    """One column, at most `batch` rows at a time, in the memory of one row group.

    Arrow's reader of a whole file holds two and more of them, and its pool keeps what was freed.
    """
    for group in range(file.num_row_groups):
        for records in file.iter_batches(batch_size=batch, row_groups=[group], columns=[column], use_threads=False):
            yield records.column(0)
        pa.default_memory_pool().release_unused()


def _check_lengths(path: Path, row: int, column: pa.Array) -> None:
    lengths = pc.binary_length(column)
    longest = pc.max(lengths).as_py()
    if longest is not None and longest > LONGEST_DOCUMENT:
        found = pc.index(lengths, longest).as_py()
        why = f"{path.name}: row {row + found} has {longest:,} bytes, {LONGEST_DOCUMENT:,} at most"
        raise StageError(f"{why}; split or drop that row at the source")


def _texts(path: Path, row: int, column: pa.Array) -> list[str]:
    try:
        texts: list[str] = column.to_pylist()
    except UnicodeDecodeError:
        for index, value in enumerate(column.cast(pa.large_binary())):
            try:
                value.as_py().decode()
            except UnicodeDecodeError as error:
                why = f"{path.name}: row {row + index} is not UTF-8 at byte {error.start}"
                raise StageError(f"{why}; repair or drop that row at the source") from error
        raise
    return texts


def _check_column(path: Path, schema: pa.Schema) -> None:
    if COLUMN not in schema.names:
        raise StageError(f"{path.name} has no column {COLUMN!r}; its columns are {', '.join(schema.names)}")
    kind = schema.field(COLUMN).type
    if kind not in (pa.string(), pa.large_string()):
        raise StageError(f"{path.name}: column {COLUMN!r} holds {kind}, not string; from row 0 on")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
