"""From raw lines to tables: every number with its interval and the size of its sample, and nothing that is not in them.

`positions.jsonl`, `trials.jsonl` and `answers.jsonl` are enough to make `long_context.json`'s tables again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import TypeAdapter

from core.evaluation.long_context.asking import TrialRecord
from core.evaluation.long_context.longbench import LongAnswer
from core.evaluation.long_context.positions import BucketRecord, bits_per_byte
from core.evaluation.measurement import Measurement, wilson_interval
from core.evaluation.resampling import RESAMPLES

POSITIONS, TRIALS, ANSWERS = "positions.jsonl", "trials.jsonl", "answers.jsonl"

BUCKETS: TypeAdapter[list[BucketRecord]] = TypeAdapter(list[BucketRecord])
TRIAL_RECORDS: TypeAdapter[list[TrialRecord]] = TypeAdapter(list[TrialRecord])
LONG_ANSWERS: TypeAdapter[list[LongAnswer]] = TypeAdapter(list[LongAnswer])

RecordT = TypeVar("RecordT")
KeyT = TypeVar("KeyT")


@dataclass(frozen=True, kw_only=True)
class Raw:
    """All raw lines of one model."""

    positions: Sequence[BucketRecord]
    trials: Sequence[TrialRecord]
    answers: Sequence[LongAnswer]

    @classmethod
    def read(cls, folder: Path) -> Raw:
        """Read the three files of a stage."""
        return cls(
            positions=_read(folder / POSITIONS, BUCKETS),
            trials=_read(folder / TRIALS, TRIAL_RECORDS),
            answers=_read(folder / ANSWERS, LONG_ANSWERS),
        )

    def write(self, folder: Path) -> None:
        """Write them, one record a line."""
        _write(folder / POSITIONS, TypeAdapter(BucketRecord), self.positions)
        _write(folder / TRIALS, TypeAdapter(TrialRecord), self.trials)
        _write(folder / ANSWERS, TypeAdapter(LongAnswer), self.answers)


@dataclass(frozen=True, kw_only=True)
class PositionRow:
    """Bits per byte of one method at one length: in positions [first, end), or in all when both are None."""

    method: str
    factor: int
    first: int | None
    end: int | None
    texts: int
    result: Measurement


@dataclass(frozen=True, kw_only=True)
class RateRow:
    """How many trials were right: by likelihood or by writing, at one depth or (None) at all."""

    method: str
    factor: int
    kind: str
    depth: float | None
    by: str  # likelihood or writing
    chance: float
    result: Measurement


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """Mean F1 of one task of LongBench."""

    method: str
    factor: int
    task: str
    result: Measurement


@dataclass(frozen=True, kw_only=True)
class Tables:
    """All tables of one model."""

    positions: tuple[PositionRow, ...]
    rates: tuple[RateRow, ...]
    scores: tuple[ScoreRow, ...]

    def listing(self) -> dict[str, object]:
        """As JSON values."""
        return {
            name: [asdict(row) for row in rows]
            for name, rows in (("positions", self.positions), ("rates", self.rates), ("scores", self.scores))
        }


def make_tables(raw: Raw, seed: int) -> Tables:
    """Every table; `seed` is that of the bootstrap."""
    return Tables(
        positions=(*_position_rows(raw.positions, seed),),
        rates=(*_rate_rows(raw.trials),),
        scores=(*_score_rows(raw.answers, seed),),
    )


def grouped(records: Iterable[RecordT], key: Callable[[RecordT], KeyT]) -> dict[KeyT, list[RecordT]]:
    """Records by key, in the order in which keys were met."""
    found: dict[KeyT, list[RecordT]] = {}
    for record in records:
        found.setdefault(key(record), []).append(record)
    return found


def _position_rows(records: Sequence[BucketRecord], seed: int) -> Iterable[PositionRow]:
    for (method, factor), of_length in grouped(records, lambda one: (one.method, one.factor)).items():
        by_bucket = grouped(of_length, lambda one: (one.first, one.end))
        for (first, end), those in ((None, None), of_length), *by_bucket.items():
            result = bits_per_byte(those, seed)
            if result is not None:
                texts = len({one.text for one in those})
                yield PositionRow(method=method, factor=factor, first=first, end=end, texts=texts, result=result)


def _rate_rows(records: Sequence[TrialRecord]) -> Iterable[RateRow]:
    for (method, factor, kind), trials in grouped(records, lambda one: (one.method, one.factor, one.kind)).items():
        by_depth = grouped(trials, lambda one: one.depth)
        for depth, those in ((None, trials), *sorted(by_depth.items())):
            about = _About(method=method, factor=factor, kind=kind, depth=depth)
            chance = sum(one.chance for one in those) / len(those)
            yield about.row("likelihood", chance, [one.right for one in those])
            written = [one.answer_right for one in those if one.answer_right is not None]
            if written:
                yield about.row("writing", 0.0, written)


@dataclass(frozen=True, kw_only=True)
class _About:
    """Which trials a rate is of."""

    method: str
    factor: int
    kind: str
    depth: float | None

    def row(self, by: str, chance: float, verdicts: Sequence[bool]) -> RateRow:
        return RateRow(**asdict(self), by=by, chance=chance, result=rate(sum(verdicts), len(verdicts)))


def rate(right: int, trials: int) -> Measurement:
    """A share with its Wilson interval."""
    return Measurement(
        value=right / trials,
        unit="share of trials right",
        sample_size=trials,
        sample_unit="trials",
        interval=wilson_interval(right, trials),
    )


def _score_rows(records: Sequence[LongAnswer], seed: int) -> Iterable[ScoreRow]:
    for (method, factor, task), those in grouped(records, lambda one: (one.method, one.factor, one.task)).items():
        yield ScoreRow(method=method, factor=factor, task=task, result=mean_f1([one.f1 for one in those], seed))


def mean_f1(values: Sequence[float], seed: int) -> Measurement:
    """A mean with the 95 % percentile interval of 1,000 bootstrap samples of questions."""
    array = np.array(values)
    drawn = np.random.default_rng(seed).integers(0, len(array), (RESAMPLES, len(array)))
    low, high = np.percentile(array[drawn].mean(axis=1), (2.5, 97.5)).tolist()
    return Measurement(
        value=float(array.mean()),
        unit="mean F1 of words",
        sample_size=len(array),
        sample_unit="questions",
        interval=(low, high) if len(array) > 1 else None,
    )


def _read(path: Path, kind: TypeAdapter[list[RecordT]]) -> list[RecordT]:
    lines = path.read_text("utf-8").splitlines()
    return kind.validate_json(f"[{','.join(lines)}]")


def _write(path: Path, kind: TypeAdapter[RecordT], records: Sequence[RecordT]) -> None:
    path.write_text("".join(kind.dump_json(one).decode() + "\n" for one in records), encoding="utf-8")
