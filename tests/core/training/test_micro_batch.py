"""Pieces of a batch: they tile it, and halving ends at one row."""

from __future__ import annotations

import resource
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.training.micro_batch import MicroBatch, is_out_of_memory, release_memory


@given(first=st.integers(0, 1000), count=st.integers(0, 100), rows=st.integers(1, 40))
def test_the_parts_tile_the_share_in_order(first: int, count: int, rows: int) -> None:
    share = range(first, first + count)
    parts = MicroBatch(rows).parts(share)
    assert [row for part in parts for row in part] == list(share)
    assert all(1 <= len(part) <= rows for part in parts)


def test_it_begins_at_65536_tokens_unless_told_otherwise() -> None:
    assert [MicroBatch.fitting(length, None).rows for length in (2048, 4096, 8192, 100_000)] == [32, 16, 8, 1]
    assert MicroBatch.fitting(4096, 5).rows == 5


def test_halving_starts_from_what_was_really_in_one_piece_and_ends_at_one_row() -> None:
    micro_batch = MicroBatch(16)
    seen = []
    for _ in range(4):
        micro_batch.halve(6)  # a piece of 16 never existed
        seen.append(micro_batch.rows)
    assert seen == [3, 1, 1, 1]


def test_releasing_memory_lets_go_of_what_a_failed_attempt_held() -> None:
    held = []

    def attempt(reader: ThreadPoolExecutor) -> None:
        tensor = torch.empty(8)
        held.append(weakref.ref(tensor))
        reading = reader.submit(fail)
        reading.result()  # the error holds this frame, which holds the future, which holds the error

    def fail() -> None:
        raise MemoryError

    with ThreadPoolExecutor(1) as reader, suppress(MemoryError):
        attempt(reader)
    assert held[0]() is not None
    release_memory(torch.device("cpu"))
    assert held[0]() is None


def test_an_allocation_that_fails_on_the_cpu_is_out_of_memory_and_another_error_is_not() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: SIM115
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 28), hard))
    try:
        with pytest.raises(RuntimeError) as failure:
            torch.empty(1 << 30, dtype=torch.float32)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert is_out_of_memory(failure.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(RuntimeError) as mistake:
        torch.zeros(2) @ torch.zeros(3)
    assert not is_out_of_memory(mistake.value)
