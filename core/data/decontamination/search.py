"""Looking for the n-grams of an evaluation set in packed rows, group by group; what was found is saved and read back.

Of each n-gram the first place in the stream is kept: the file and row of the document that holds it. Memory is bounded
by a few blocks of rows, the index of one group's documents, and the evaluation set.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from core.data.decontamination.evaluation_ngrams import EvaluationNgrams
from core.data.decontamination.training_text import RowBlock, RowReader, row_blocks
from core.data.decontamination.words import Words
from core.data.ledger import shards_of
from core.data.ordered_map import ordered_map
from core.data.packed_documents import NOWHERE, PackedDocuments, ShardAccount, documents_file
from core.data.rows import Rows
from core.data.tokenizer import Tokenizer
from core.stages.report import Reporter

ACCOUNTS: TypeAdapter[tuple[ShardAccount, ...]] = TypeAdapter(tuple[ShardAccount, ...])
STATE = "found.json"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A document of the corpus."""

    file: str
    row: int  # from 0


@dataclass(kw_only=True)
class Found:
    """What the groups that were searched hold; JSON values, so that a checkpoint has all of it."""

    groups: int = 0
    rows: int = 0
    tokens: int = 0
    documents: int = 0  # pieces of documents that stand in the rows
    files: list[str] = field(default_factory=list)  # of which any document stands in the rows
    places: dict[int, Place] = field(default_factory=dict)  # by index of the n-gram

    def save(self, folder: Path) -> None:
        """Write one file into `folder`."""
        (folder / STATE).write_bytes(FOUND.dump_json(self))

    @classmethod
    def load(cls, folder: Path) -> Found:
        """Read what `save` wrote."""
        return FOUND.validate_json((folder / STATE).read_bytes())


FOUND: TypeAdapter[Found] = TypeAdapter(Found)


@dataclass(frozen=True)
class BlockFindings:
    """What one block of rows holds: `hits` are (n-gram, where its document begins in the group)."""

    documents: int
    hits: list[tuple[int, int]]


@dataclass(frozen=True)
class Search:
    """One evaluation set to be looked for."""

    ngrams: EvaluationNgrams
    tokenizer: Tokenizer
    report: Reporter

    def add_group(self, found: Found, folder: Path, rows_wanted: int) -> None:
        """Search the first rows of a packed group, at most `rows_wanted`, and count them in `found`."""
        rows, reader = Rows.open(folder), RowReader(self.tokenizer)
        end, first_hits = min(rows.count, rows_wanted), dict[int, int]()
        accounts = ACCOUNTS.validate_python(rows.statistics["shards"])
        span = f"{accounts[0].file} to {accounts[-1].file}"

        def search(block: RowBlock) -> BlockFindings:
            read = reader.text(block)
            hits = self.ngrams.found_in(Words.of(read.text))
            return BlockFindings(len(read.begins), [(index, int(read.begins[document])) for index, document in hits])

        for block, findings in ordered_map(lambda block: (block, search(block)), row_blocks(rows, end), _threads()):
            found.documents += findings.documents
            for index, begin in findings.hits:
                if index not in found.places:
                    first_hits.setdefault(index, begin)
            self.report.progress(block.first_row + len(block.matrix), end, "rows", span)
        documents = PackedDocuments.decode((folder / documents_file("rows")).read_bytes())
        found.places |= _places(first_hits, documents, accounts, rows.row_tokens)
        found.groups += 1
        found.rows += end
        found.tokens += end * rows.row_tokens
        read = documents.within(0, end).accounts(shards_of(accounts))
        found.files += [account.file for account in read if account.packed_documents]


def _places(
    hits: Mapping[int, int], documents: PackedDocuments, accounts: Sequence[ShardAccount], row_tokens: int
) -> dict[int, Place]:
    """The documents that begin at these places of a group, by n-gram."""
    packed = np.flatnonzero(documents.records["row"] != NOWHERE)
    records = documents.records[packed]
    begins = records["row"].astype(np.int64) * row_tokens + records["start"]
    order = np.argsort(begins)
    numbers = packed[order[np.searchsorted(begins[order], list(hits.values()))]]
    ends = np.cumsum([account.documents for account in accounts])
    shards = np.searchsorted(ends, numbers, side="right")
    return {
        index: Place(
            file=accounts[shard].file,
            row=int(number - ends[shard] + accounts[shard].documents),
        )
        for index, number, shard in zip(hits, numbers, shards, strict=True)
    }


def _threads() -> int:
    return os.cpu_count() or 1
