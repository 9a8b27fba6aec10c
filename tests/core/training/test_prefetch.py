"""Reading ahead changes when rows are read, never which."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor

from core.training.prefetch import Prefetcher

CPU = torch.device("cpu")


class NumberedRows:
    """Row i is [i, i + 1]; remembers what was asked for, and announces every read."""

    rows_per_step = 4
    sequence_length = 1

    def __init__(self) -> None:
        self.asked: list[range] = []
        self.read_once = threading.Event()

    def read(self, start: int, count: int) -> tuple[Tensor, Tensor]:
        self.asked.append(range(start, start + count))
        self.read_once.set()
        if start < 0:
            raise OSError("the disk is gone")
        numbers = torch.arange(start, start + count).unsqueeze(1)
        return numbers, numbers + 1

    def supervised(self, start: int, count: int) -> int:
        return count


def test_the_next_rows_are_read_before_they_are_asked_for() -> None:
    batches = NumberedRows()
    with Prefetcher(batches, CPU) as prefetcher:
        inputs, targets = prefetcher.get(range(2), following=range(2, 4))
        assert inputs.flatten().tolist() == [0, 1]
        assert targets.flatten().tolist() == [1, 2]
        inputs, _ = prefetcher.get(range(2, 4), following=range(4, 6))
    assert inputs.flatten().tolist() == [2, 3]
    assert batches.asked[:2] == [range(2), range(2, 4)]
    assert batches.asked.count(range(2, 4)) == 1


def test_nothing_is_read_ahead_from_the_end_on() -> None:
    batches = NumberedRows()
    with Prefetcher(batches, CPU, end=6) as prefetcher:
        prefetcher.get(range(2, 4), following=range(4, 8))
        prefetcher.get(range(4, 8), following=range(8, 12))
        inputs, _ = prefetcher.get(range(8, 9), following=range(9, 10))
    assert inputs.flatten().tolist() == [8]
    assert batches.asked == [range(2, 4), range(4, 8), range(8, 9)]


def test_a_guess_that_was_wrong_is_thrown_away() -> None:
    batches = NumberedRows()
    with Prefetcher(batches, CPU) as prefetcher:
        prefetcher.get(range(4), following=range(4, 8))
        inputs, _ = prefetcher.get(range(2), following=range(2, 4))
    assert inputs.flatten().tolist() == [0, 1]


def test_what_reading_raises_is_raised_where_the_rows_are_needed() -> None:
    batches = NumberedRows()
    with Prefetcher(batches, CPU) as prefetcher:
        prefetcher.get(range(1), following=range(-1, 0))
        with pytest.raises(OSError, match="the disk is gone"):
            prefetcher.get(range(-1, 0), following=range(1))
