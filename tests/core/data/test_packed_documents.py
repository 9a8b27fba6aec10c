"""The index of packed documents against the rows themselves: every token is where it says, and nowhere else."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.best_fit import BestFitPacker
from core.data.corpus.artifact import Shard
from core.data.packed_documents import NOWHERE, PackedDocuments, documents_file
from core.stages.context import StageError

lengths = st.lists(st.integers(0, 30), max_size=60)


def pack(lengths: list[int], capacity: int, buffer: int) -> tuple[list[np.ndarray], list[np.ndarray], PackedDocuments]:
    """Documents of these lengths with tokens that are all different, the rows they fill, and the index of them."""
    ends = np.cumsum([0, *lengths])
    documents = [np.arange(first, end, dtype=np.uint32) for first, end in pairwise(ends)]
    packer = BestFitPacker(capacity, buffer)
    rows = list(packer.rows(document for document in documents if len(document)))
    placed, kept = np.array(packer.placed, np.int64), np.array(packer.placed_tokens, np.int64)
    return documents, rows, PackedDocuments.placed(np.array(lengths, np.int64), placed, kept, capacity)


@given(lengths, st.integers(1, 20), st.integers(1, 12))
def test_every_document_stands_where_its_record_says(lengths: list[int], capacity: int, buffer: int) -> None:
    documents, rows, index = pack(lengths, capacity, buffer)
    found = 0
    for document, (row, start, kept, tokens) in zip(documents, index.records.tolist(), strict=True):
        assert tokens == len(document)
        if row == NOWHERE:
            assert kept == 0
        else:
            assert rows[row][start : start + kept].tolist() == document[:kept].tolist()
        found += kept
    assert found == capacity * len(rows)


@given(lengths, st.integers(1, 20), st.integers(1, 12), st.data())
def test_the_accounts_of_shards_add_up_and_those_of_some_rows_add_up_to_them(
    lengths: list[int], capacity: int, buffer: int, data: st.DataObject
) -> None:
    _, rows, index = pack(lengths, capacity, buffer)
    cut, row = data.draw(st.integers(0, len(lengths))), data.draw(st.integers(0, len(rows)))
    shards = [shard(0, cut), shard(1, len(lengths) - cut)]
    for first, end in ((0, len(rows)), (0, row), (row, len(rows))):
        accounts = index.within(first, end).accounts(shards)
        assert sum(account.tokens for account in accounts) == sum(lengths)
        assert sum(account.kept_tokens for account in accounts) == (end - first) * capacity
        assert sum(account.target_tokens for account in accounts) == (end - first) * (capacity - 1)
        assert all(account.cropped_tokens >= 0 for account in accounts)


def shard(number: int, documents: int) -> Shard:
    return Shard(number=number, file=f"shard_{number:05d}.parquet", documents=documents, characters=0)


def test_an_index_is_read_back_and_anything_else_is_refused(tmp_path: Path) -> None:
    _, _, index = pack([3, 0, 9], 4, 2)
    index.save(tmp_path, "rows")
    content = (tmp_path / documents_file("rows")).read_bytes()
    assert PackedDocuments.decode(content).records.tolist() == index.records.tolist()
    with pytest.raises(StageError, match="cannot be read"):
        PackedDocuments.decode(content[:-1])
    np.save(tmp_path / "other.npy", np.zeros(3))
    with pytest.raises(StageError, match="holds float64"):
        PackedDocuments.decode((tmp_path / "other.npy").read_bytes())
