"""Which trials are asked: needles of each kind at each length, and NoLiMa's riddles where the recipe has its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.data.best_fit import Tokens
from core.evaluation.long_context.asking import TrialRecord
from core.evaluation.long_context.haystack import Haystack
from core.evaluation.long_context.methods import Method, Methods
from core.evaluation.long_context.needles import KINDS, Kind, NeedleTrials, TooShortError, Trial
from core.evaluation.long_context.nolima import Riddle, nolima_trial, read_books, read_riddles
from core.evaluation.long_context.part import Missing, Part
from core.evaluation.long_context.reader import Reader
from core.evaluation.long_context.reading import texts_at_once
from core.evaluation.long_context.tables import TRIAL_RECORDS
from core.recipes.recipe import LongContext


@dataclass(frozen=True, kw_only=True)
class TrialSet:
    """Trials of one kind at one length; `make` raises `TooShortError` for one that does not fit."""

    kind: str
    factor: int
    count: int
    make: Callable[[int], Trial]


def trial_maker(reader: Reader, measured: LongContext, documents: Sequence[Tokens]) -> NeedleTrials:
    """Who makes the trials of a model that reads forward, in haystacks of these documents."""
    tokenizer = reader.subject.tokenizer
    return NeedleTrials(
        tokenizer=tokenizer,
        frame=reader.frame,
        held_out=Haystack.of_documents(documents, tokenizer),
        filler=Haystack.of_filler(tokenizer),
        room=measured.answer_tokens,
        choices=measured.choices,
        depths=measured.needle_depths,
        seed=measured.seed,
    )


def needle_sets(maker: NeedleTrials, measured: LongContext, trained_length: int) -> Iterator[TrialSet]:
    """All kinds of needles at all lengths."""
    for factor in measured.factors:
        for kind in KINDS:
            make = _needle(maker, kind, factor * trained_length)
            yield TrialSet(kind=kind, factor=factor, count=measured.needle_trials, make=make)


def riddle_sets(
    maker: NeedleTrials, files: Mapping[str, Path], count: int, factors: Sequence[int], trained_length: int
) -> Iterator[TrialSet]:
    """NoLiMa's riddles, `count` of each kind, at all lengths."""
    riddles, books = read_riddles(files), read_books(files, maker.tokenizer)
    for factor in factors:
        for kind in dict.fromkeys(riddle.kind for riddle in riddles):
            of_kind = [riddle for riddle in riddles if riddle.kind == kind]
            make = _riddle(maker, of_kind, books, factor * trained_length)
            yield TrialSet(kind=kind, factor=factor, count=count, make=make)


def trial_parts(reader: Reader, methods: Methods, trials: TrialSet) -> list[Part[TrialRecord]]:
    """One part for each method; trials that do not fit have no record."""
    length = trials.factor * reader.trained_length
    missing = Missing(
        what=f"{trials.kind} at {trials.factor}x",
        why=f"needles, question and answer do not fit into {length:,} tokens",
    )
    return [
        Part(
            name=f"{trials.kind} {method.name} {trials.factor}x",
            kind=TRIAL_RECORDS,
            measure=_asking(reader, trials, method, length),
            wanted=trials.count,
            missing=missing,
        )
        for method in methods.at(trials.factor)
    ]


def _needle(maker: NeedleTrials, kind: Kind, length: int) -> Callable[[int], Trial]:
    return lambda number: maker.trial(kind, length, number)


def _riddle(maker: NeedleTrials, riddles: Sequence[Riddle], books: Haystack, length: int) -> Callable[[int], Trial]:
    return lambda number: nolima_trial(maker, riddles, books, length, number)


def _asking(reader: Reader, trials: TrialSet, method: Method, length: int) -> Callable[[], list[TrialRecord]]:
    """Made and asked a few at a time: 500 long prompts are not held at once."""
    at_once = texts_at_once(length)

    def ask() -> list[TrialRecord]:
        records: list[TrialRecord] = []
        with method.applied(reader.subject.model):
            for start in range(0, trials.count, at_once):
                numbers = range(start, min(start + at_once, trials.count))
                fitting = [trial for number in numbers if (trial := _fitting(trials, number)) is not None]
                records += reader.asker.ask(fitting, method.name, trials.factor)
        return records

    return ask


def _fitting(trials: TrialSet, number: int) -> Trial | None:
    try:
        return trials.make(number)
    except TooShortError:  # reported as missing by the number of records
        return None
