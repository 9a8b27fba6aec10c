"""The rows that the base suite reads: held-out ones (`validation`), and as many that it was trained on (`train`).

`train` is the beginning of the training stream, no further than the model has read it. A model that reads in both
directions is measured on the held-out documents in each; its training rows hold documents of both, and are read as
they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path

from core.data.direction import Way, measured_row_sets
from core.data.rows import Rows
from core.evaluation.measured_rows import MeasuredRows, measure_rows
from core.evaluation.subject import Subject
from core.model.rope_switch import positions
from core.recipes.recipe import Direction


@dataclass(frozen=True)
class HeldOutRows:
    """The first `count` held-out rows, in each way in which a model reads."""

    ways: Mapping[Way, Rows]
    count: int

    @classmethod
    def open(cls, folder: Path, direction: Direction, tokens: int) -> HeldOutRows:
        """As many rows as hold `tokens` targets, at least one; raises `StageError` when the folder has no rows."""
        ways = {way: Rows.open(folder, name) for way, name in measured_row_sets(direction).items()}
        first = next(iter(ways.values()))
        return cls(ways, rows_of(first, tokens))

    def one_in(self, share: int) -> HeldOutRows:
        """The first of them, one in `share`, at least one."""
        return HeldOutRows(self.ways, max(1, self.count // share))

    def measure(self, subject: Subject, set_name: str) -> list[MeasuredRows]:
        """Measure each way."""
        return [measure_rows(subject, rows, self.count, set_name=set_name, way=way) for way, rows in self.ways.items()]

    def measure_with_rope(self, subject: Subject, set_name: str) -> list[MeasuredRows]:
        """The same, with RoPE whether or not the model has it."""
        with positions(subject.model, use_rope=True):
            return self.measure(subject, set_name)

    def measure_without_rope(self, subject: Subject, set_name: str) -> list[MeasuredRows]:
        """The same without RoPE."""
        with positions(subject.model, use_rope=False):
            return self.measure(subject, set_name)


def together(ways: list[MeasuredRows]) -> MeasuredRows:
    """The rows of all ways: row i holds the same documents in each."""
    return reduce(add, ways)


def measure_training_rows(subject: Subject, folder: Path, count: int) -> MeasuredRows | None:
    """Measure the first `count` rows of the stream, or those that the model has read; None when it has read none."""
    rows, direction = Rows.open(folder), subject.state.direction
    read = subject.state.tokens_seen // (rows.row_tokens - 1)
    count = min(count, read, rows.count)
    if count == 0:
        return None
    way = "mixed" if direction == "bidirectional" else direction
    return measure_rows(subject, rows, count, set_name="train", way=way)


def rows_of(rows: Rows, tokens: int) -> int:
    """How many rows hold `tokens` targets: at least one, no more than there are."""
    return min(rows.count, max(1, tokens // (rows.row_tokens - 1)))
