"""Best-fit packing against a plain scan of the buffer, and what must hold for any documents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.data.best_fit import BestFitPacker

BOS = 0


def documents_of(lengths: Sequence[int]) -> list[np.ndarray]:
    """Documents of the given lengths whose tokens are all different but the first, which is BOS."""
    ends = np.cumsum(lengths)
    documents = [
        np.arange(end - length + 1, end + 1, dtype=np.uint32) for length, end in zip(lengths, ends, strict=True)
    ]
    for document in documents:
        document[0] = BOS
    return documents


def scan(documents: Sequence[np.ndarray], capacity: int, buffer_documents: int) -> list[list[int]]:
    """The rule as one would say it: look at the whole buffer for every choice."""
    waiting, buffer, rows, row = list(documents), [], [], []
    while True:
        while waiting and len(buffer) < buffer_documents:
            buffer.append(waiting.pop(0))
        if not buffer:
            return rows
        space = capacity - len(row)
        fitting = [document for document in buffer if len(document) <= space]
        size = max(map(len, fitting)) if fitting else min(map(len, buffer))
        index = next(index for index, document in enumerate(buffer) if len(document) == size)
        row += buffer.pop(index).tolist()[:space]
        if len(row) == capacity:
            rows.append(row)
            row = []


lengths = st.lists(st.integers(1, 30), max_size=60)
capacities = st.integers(1, 20)
buffers = st.integers(1, 12)


@given(lengths, capacities, buffers)
@example([3, 3, 3, 3], 5, 4)
def test_rows_are_those_of_a_plain_scan(lengths: list[int], capacity: int, buffer: int) -> None:
    documents = documents_of(lengths)
    rows = [row.tolist() for row in BestFitPacker(capacity, buffer).rows(documents)]
    assert rows == scan(documents, capacity, buffer)


@given(lengths, capacities, buffers)
def test_rows_are_full_begin_with_bos_and_every_token_is_accounted_for(
    lengths: list[int], capacity: int, buffer: int
) -> None:
    packer = BestFitPacker(capacity, buffer)
    rows = list(packer.rows(documents_of(lengths)))
    assert all(len(row) == capacity and row[0] == BOS for row in rows)
    assert packer.kept == capacity * len(rows)
    assert packer.kept + packer.cropped + packer.dropped == sum(lengths)
    assert packer.dropped < capacity
    text = [token for row in rows for token in row.tolist() if token != BOS]
    assert len(text) == len(set(text)), "a token was packed twice"


@given(lengths, capacities, buffers, st.integers(1, 5))
def test_blocks_are_the_same_rows(lengths: list[int], capacity: int, buffer: int, at_once: int) -> None:
    one, several = BestFitPacker(capacity, buffer), BestFitPacker(capacity, buffer)
    rows = [row.tolist() for row in one.rows(documents_of(lengths))]
    blocks = list(several.blocks(documents_of(lengths), at_once))
    assert [row.tolist() for block in blocks for row in block] == rows
    assert all(len(block) == at_once for block in blocks[:-1])
    assert one == several, "the accounts differ"


def test_no_more_documents_are_taken_than_the_buffer_holds() -> None:
    taken = 0

    def documents() -> list[np.ndarray]:
        nonlocal taken
        for document in documents_of([4] * 20):
            taken += 1
            yield document

    rows = BestFitPacker(capacity=4, buffer_documents=5).rows(documents())
    next(rows)
    assert taken == 5
    next(rows)
    assert taken == 6


@pytest.mark.parametrize("lengths", [[], [3]])
def test_documents_that_fill_no_row_are_dropped_and_counted(lengths: list[int]) -> None:
    packer = BestFitPacker(capacity=4, buffer_documents=2)
    assert list(packer.rows(documents_of(lengths))) == []
    assert (packer.kept, packer.cropped, packer.dropped) == (0, 0, sum(lengths))
