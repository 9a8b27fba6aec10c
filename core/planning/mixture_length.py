"""How many tokens a fine-tuning mixture will hold, said before anything is downloaded or packed: an assumption.

Rows are those of the datasets. Tokens a row were counted where this project generates the rows (tiny vocabulary), and
otherwise chosen so that the mixture of the miniseries sums up to what is documented of it: 0.45 to 0.5 billion tokens,
which are 430 to 480 steps of 2^20. Long are only the 74,312 ShareGPT conversations among the 288,554 rows of
tulu-v2-sft-long-mixture. It is allenai/tulu-v2-sft-mixture with those left whole, whose card says 1.239 GB: 4.3 KB or
1,000 tokens a row, so that 100,000 rows add 0.1 billion. (4,000 to 6,000 a row, as once thought, would take hours more
than the 90 minutes that the series' card gives a fine-tune.)
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
    "tulu-long": Length(287_054, 1_000),
}
UNKNOWN = Length(100_000, 450)  # a task that is not in the table: as long as the average row of the miniseries


def assumed_tokens(tasks: Iterable[MixtureTask], row_tokens: int) -> int:
    """Tokens of one pass over `tasks`, each conversation cut at `row_tokens`; padding, about 2 %, is left out."""
    return sum(_rows(task) * min(LENGTHS.get(task.name, UNKNOWN).tokens, row_tokens) for task in tasks)


def _rows(task: MixtureTask) -> int:
    rows = LENGTHS.get(task.name, UNKNOWN).rows if task.rows is None else task.rows
    return rows * task.epochs
