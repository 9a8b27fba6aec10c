"""The token ledger: which documents of which files some optimizer steps have read, and how many times. Pure arithmetic.

Step s reads rows [s*R, (s+1)*R) of the stream, which begins again when it ends, so a group is read whole some number of
times and then, perhaps, up to one of its rows. A row of T+1 tokens trains on T of them: the first is only read. So the
target tokens of all files sum to steps times R times T, which is the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from core.data.corpus.artifact import Shard
from core.data.packed_documents import NOWHERE, PackedDocuments, ShardAccount


@dataclass(frozen=True)
class GroupReading:
    """How often the rows of one group were read: all of them `whole` times, rows [0, `further`) once more."""

    whole: int
    further: int


@dataclass(frozen=True, kw_only=True)
class FileReading:
    """How often one shard was read; `further` accounts for the rows of its group that were read once more."""

    account: ShardAccount
    whole: int
    further: ShardAccount | None

    @property
    def target_tokens(self) -> int:
        """Tokens of this file that were trained on, each as often as it was."""
        return self.whole * self.account.target_tokens + (self.further.target_tokens if self.further else 0)

    @property
    def documents(self) -> int:
        """Documents of which something was read at least once."""
        if self.whole:
            return self.account.packed_documents
        return self.further.packed_documents if self.further else 0

    @property
    def times(self) -> float:
        """Times that a packed token was read, on average."""
        packed = self.account.target_tokens
        return self.target_tokens / packed if packed else 0.0


@dataclass(frozen=True, kw_only=True)
class DocumentRun:
    """Rows [`first`, `end`) of a file, all read `times` times."""

    first: int
    end: int
    times: int


def group_readings(rows: Sequence[int], rows_read: int) -> tuple[GroupReading, ...]:
    """What reading the first `rows_read` rows of the stream reads of its groups, which hold `rows` rows."""
    if not sum(rows):
        return tuple(GroupReading(0, 0) for _ in rows)
    epochs, rest = divmod(rows_read, sum(rows))
    starts = accumulate(rows, initial=0)
    return tuple(_reading(epochs, count, rest - start) for count, start in zip(rows, starts, strict=False))


def file_readings(
    reading: GroupReading, accounts: Sequence[ShardAccount], further: Sequence[ShardAccount] | None
) -> tuple[FileReading, ...]:
    """The readings of a group's shards; `further` are the accounts of its first `reading.further` rows, if any."""
    if further is None:
        return tuple(FileReading(account=account, whole=reading.whole, further=None) for account in accounts)
    return tuple(
        FileReading(account=account, whole=reading.whole, further=part)
        for account, part in zip(accounts, further, strict=True)
    )


def document_runs(documents: PackedDocuments, reading: GroupReading, skipped: int, count: int) -> list[DocumentRun]:
    """How often each document of a file was read, as runs; its documents are number `skipped` to `skipped + count`.

    A document that is in no row (empty, or in the group's last, partial one) was read 0 times.
    """
    rows = documents.records["row"][skipped : skipped + count]
    times = np.where(rows == NOWHERE, 0, reading.whole + (rows < reading.further))
    return list(_runs(times))


def shards_of(accounts: Sequence[ShardAccount]) -> list[Shard]:
    """The shards that accounts are of, as far as an index of documents needs them."""
    return [
        Shard(number=account.number, file=account.file, documents=account.documents, characters=0)
        for account in accounts
    ]


def _reading(epochs: int, rows: int, left: int) -> GroupReading:
    return GroupReading(epochs + 1, 0) if 0 < rows <= left else GroupReading(epochs, max(0, min(rows, left)))


def _runs(times: npt.NDArray[np.integer]) -> Iterator[DocumentRun]:
    if not len(times):
        return
    starts = [0, *(np.flatnonzero(np.diff(times)) + 1).tolist()]
    for first, end in zip(starts, [*starts[1:], len(times)], strict=True):
        yield DocumentRun(first=first, end=end, times=int(times[first]))
