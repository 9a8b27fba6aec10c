"""How many tokens a fine-tuning mixture will hold, said before anything is downloaded or packed: an assumption.

Rows are those of the datasets. Tokens a row were counted where this project generates the rows (tiny vocabulary), and
otherwise chosen so that the mixture of the miniseries sums up to what is documented of it: 0.45 to 0.5 billion tokens,
which are 430 to 480 steps of 2^20; the long mixture adds 100,000 rows of 4,000 to 6,000 tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from core.recipes.recipe import MixtureTask


@dataclass(frozen=True)
class Length:
    """One task's dataset."""

    rows: int  # of the training split
    tokens: int  # of one rendered row, on average


LENGTHS = {
    "smol-smoltalk": Length(460_000, 890),
    "identity": Length(1_000, 300),
    "mmlu": Length(99_842, 150),
    "gsm8k": Length(7_473, 200),
    "simple-spelling": Length(200_000, 33),
    "spelling-bee": Length(80_000, 129),
    "arithmetic": Length(400, 35),
    "word-choice": Length(400, 75),
    "tulu-long": Length(100_000, 5_000),
}
UNKNOWN = Length(100_000, 450)  # a task that is not in the table: as long as the average row of the miniseries


def assumed_tokens(tasks: Iterable[MixtureTask], row_tokens: int) -> int:
    """Tokens of one pass over `tasks`, each conversation cut at `row_tokens`; padding, about 2 %, is left out."""
    return sum(_rows(task) * min(LENGTHS.get(task.name, UNKNOWN).tokens, row_tokens) for task in tasks)


def _rows(task: MixtureTask) -> int:
    rows = LENGTHS.get(task.name, UNKNOWN).rows if task.rows is None else task.rows
    return rows * task.epochs
