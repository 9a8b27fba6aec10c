"""Where every document of a pack artifact went: `{name}.documents.npy`, so that "which rows of which files" is exact.

One record for each document of the shards in order, empty ones included: its tokens are
`rows[row, start : start + kept]`, the first `kept` of `tokens`. What is in no full row has row `NOWHERE` and kept 0.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.data.corpus.artifact import Shard
from core.stages.context import StageError

NOWHERE = 2**32 - 1
RECORD = np.dtype([("row", "<u4"), ("start", "<u4"), ("kept", "<u4"), ("tokens", "<u4")])

Integers = npt.NDArray[np.integer]


@dataclass(frozen=True, kw_only=True)
class ShardAccount:
    """What became of one shard: `tokens` = `kept_tokens` + those cropped off documents + those dropped at the end."""

    number: int
    file: str
    documents: int
    packed_documents: int  # of which at least one token is in a row
    tokens: int  # with those that open a document
    kept_tokens: int
    dropped_tokens: int  # of documents that are in no row, because the last one stayed partial
    rows_begun: int  # rows whose first document is one of this shard

    @property
    def cropped_tokens(self) -> int:
        """Tokens cut off documents that are in rows."""
        return self.tokens - self.kept_tokens - self.dropped_tokens

    @property
    def target_tokens(self) -> int:
        """Tokens that are predicted when each row is read once: all that are kept but the first of a row."""
        return self.kept_tokens - self.rows_begun


@dataclass(frozen=True)
class PackedDocuments:
    """The records of one row set."""

    records: npt.NDArray[np.void]  # [documents] of RECORD

    @classmethod
    def placed(cls, tokens: Integers, arrivals: Integers, kept: Integers, row_tokens: int) -> PackedDocuments:
        """From `tokens` [documents] and the pieces [n] in the order of the rows that they fill.

        `arrivals` numbers the document of each piece among those that are not empty; a last row that is not full counts
        as none.
        """
        records = np.zeros(len(tokens), dtype=RECORD)
        records["tokens"] = tokens
        records["row"] = NOWHERE
        ends = np.cumsum(kept, dtype=np.int64)
        starts = ends - kept
        full = starts // row_tokens < (int(ends[-1]) if len(ends) else 0) // row_tokens
        documents = np.flatnonzero(tokens)[arrivals[full]]
        records["row"][documents] = starts[full] // row_tokens
        records["start"][documents] = starts[full] % row_tokens
        records["kept"][documents] = kept[full]
        return cls(records)

    @classmethod
    def decode(cls, content: bytes) -> PackedDocuments:
        """Read the bytes of a file that `save` wrote; raise `StageError` when it is no such file."""
        try:
            records = np.load(io.BytesIO(content), allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise StageError(f"the index of packed documents cannot be read: {error}; make the pack again") from error
        if records.dtype != RECORD:
            raise StageError(f"the index of packed documents holds {records.dtype}, not {RECORD}; make the pack again")
        return cls(records)

    def save(self, folder: Path, name: str) -> None:
        """Write `{name}.documents.npy`."""
        np.save(folder / documents_file(name), self.records, allow_pickle=False)

    def within(self, first_row: int, end_row: int) -> PackedDocuments:
        """The same documents, of which only what stands in rows [first_row, end_row) counts as kept."""
        records = self.records.copy()
        outside = (records["row"] < first_row) | (records["row"] >= end_row)
        records["row"][outside] = NOWHERE
        records["kept"][outside] = 0
        return PackedDocuments(records)

    def accounts(self, shards: Sequence[Shard]) -> tuple[ShardAccount, ...]:
        """One account a shard; `shards` are those that were packed, in order."""
        ends = np.cumsum([shard.documents for shard in shards])
        parts = np.split(self.records, ends[:-1])
        return tuple(_account(shard, part) for shard, part in zip(shards, parts, strict=True))


def documents_file(name: str) -> str:
    """File name of the index of a row set."""
    return f"{name}.documents.npy"


def _account(shard: Shard, records: npt.NDArray[np.void]) -> ShardAccount:
    packed = records["row"] != NOWHERE
    return ShardAccount(
        number=shard.number,
        file=shard.file,
        documents=len(records),
        packed_documents=int(packed.sum()),
        tokens=int(records["tokens"].sum(dtype=np.int64)),
        kept_tokens=int(records["kept"].sum(dtype=np.int64)),
        dropped_tokens=int(records["tokens"][~packed].sum(dtype=np.int64)),
        rows_begun=int((packed & (records["start"] == 0)).sum()),
    )
