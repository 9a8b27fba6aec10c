"""The ledger against a count of every token that is read, step by step, on streams that wrap around."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.data.best_fit import BestFitPacker
from core.data.corpus.artifact import Shard
from core.data.ledger import DocumentRun, document_runs, file_readings, group_readings, shards_of
from core.data.packed_documents import PackedDocuments, ShardAccount

ROW_TOKENS = 9  # T + 1

shard_lengths = st.lists(st.integers(0, 30), max_size=12)  # tokens of the documents of one shard
groups_of_shards = st.lists(st.lists(shard_lengths, min_size=1, max_size=3), min_size=1, max_size=3)


class Group:
    """Shards packed for real; every token of a row names the (shard, row of the shard) that it is from."""

    def __init__(self, number: int, shards: list[list[int]]) -> None:
        self.names = [(10 * number + shard, row) for shard, lengths in enumerate(shards) for row in range(len(lengths))]
        lengths = [length for shard in shards for length in shard]
        documents = [np.full(length, place, np.uint32) for place, length in enumerate(lengths)]
        packer = BestFitPacker(ROW_TOKENS, 4)
        self.rows = list(packer.rows(document for document in documents if len(document)))
        placed, kept = np.array(packer.placed, np.int64), np.array(packer.placed_tokens, np.int64)
        self.index = PackedDocuments.placed(np.array(lengths, np.int64), placed, kept, ROW_TOKENS)
        self.shards = [
            Shard(number=10 * number + shard, file=f"{number}-{shard}", documents=len(lengths), characters=0)
            for shard, lengths in enumerate(shards)
        ]

    def accounts(self, end_row: int) -> tuple[ShardAccount, ...]:
        return self.index.within(0, end_row).accounts(self.shards)


@given(groups_of_shards, st.integers(0, 12), st.integers(1, 7))
def test_the_ledger_is_the_count_of_what_every_step_read(
    packed: list[list[list[int]]], steps: int, rows_per_step: int
) -> None:
    groups = [Group(number, shards) for number, shards in enumerate(packed)]
    stream = [[group.names[token] for token in row] for group in groups for row in group.rows]
    if not stream:
        return
    targets: Counter[int] = Counter()
    passes: Counter[tuple[int, int]] = Counter()
    for step in range(steps):
        for row in range(step * rows_per_step, (step + 1) * rows_per_step):
            read = stream[row % len(stream)]
            targets.update(shard for shard, _ in read[1:])
            passes.update(set(read))

    readings = group_readings([len(group.rows) for group in groups], steps * rows_per_step)
    found: dict[int, int] = {}
    for group, reading in zip(groups, readings, strict=True):
        files = file_readings(reading, group.accounts(len(group.rows)), group.accounts(reading.further))
        found |= {file.account.number: file.target_tokens for file in files}
        skipped = 0
        for shard, file in zip(group.shards, files, strict=True):
            runs = document_runs(group.index, reading, skipped, shard.documents)
            times = [run.times for run in runs for _ in range(run.first, run.end)]
            assert times == [passes[shard.number, row] for row in range(shard.documents)]
            assert file.documents == sum(time > 0 for time in times)
            skipped += shard.documents
    assert {shard: count for shard, count in found.items() if count} == dict(+targets)
    assert sum(found.values()) == steps * rows_per_step * (ROW_TOKENS - 1)


def test_documents_of_equal_fate_are_one_run() -> None:
    group = Group(0, [[9, 9, 0, 9, 9, 3]])
    (reading,) = group_readings([len(group.rows)], 4 + 2)
    assert document_runs(group.index, reading, 0, 6) == [
        DocumentRun(first=0, end=2, times=2),
        DocumentRun(first=2, end=3, times=0),
        DocumentRun(first=3, end=5, times=1),
        DocumentRun(first=5, end=6, times=0),
    ]


def test_the_shards_of_accounts_are_those_that_were_packed() -> None:
    group = Group(0, [[9, 9], [9]])
    assert shards_of(group.accounts(3)) == group.shards
