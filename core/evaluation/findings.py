"""What a suite hands back: numbers, texts to read, the raw records behind the numbers, and what is missing.

The evaluate stage writes it to files whose names and lines others rely on:

    evaluation.json   `results`: name -> value, unit, sample_size, sample_unit, interval (95 %); `sets`: how much was
                      read of each; `recovery`, `cloze`, `examination` if there are any; `missing`: what has no number
    rows.jsonl        both suites: bits and bytes of every row (`core.evaluation.measured_rows`)
    cloze.jsonl       base suite: every passage and way of the cloze task (`core.evaluation.cloze.ClozeTrial`)
    answers.jsonl     chat suite: every question of the examination: task, number (of the question in its task), prompt,
                      answer, reference, correct (null where it does not fit the context)
    samples.md        the results as a table, and the samples
"""

from __future__ import annotations

from dataclasses import dataclass

from core.evaluation.cloze import ClozeTrial
from core.evaluation.long_context.part import Missing
from core.evaluation.measured_rows import MeasuredRows
from core.evaluation.measurement import Measurement
from core.evaluation.recovery import Recovery
from core.evaluation.samples import Sample
from core.evaluation.scores import Examination


@dataclass(frozen=True)
class Findings:
    """What a suite found out about a subject."""

    results: dict[str, Measurement]
    samples: tuple[Sample, ...]
    how_sampled: str
    examination: Examination | None = None
    rows: tuple[MeasuredRows, ...] = ()
    trials: tuple[ClozeTrial, ...] = ()
    recovery: Recovery | None = None
    missing: tuple[Missing, ...] = ()
