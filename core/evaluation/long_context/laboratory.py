"""One model, the texts it is measured on, and every part of the measurement in turn.

What cannot be measured is listed as missing with its reason, and never counts as a zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from core.data.direction import Reading, readings
from core.evaluation.long_context.asking import Asker, TrialRecord, Writing
from core.evaluation.long_context.benchmark_data import REPOSITORIES, benchmark_files
from core.evaluation.long_context.documents import HeldOutDocuments, LongText
from core.evaluation.long_context.haystack import Haystack
from core.evaluation.long_context.journal import Journal
from core.evaluation.long_context.logit_scale_fit import Fit, LogitScaleFit
from core.evaluation.long_context.longbench import LongAnswer, LongQuestion, f1, question_prompt, read_questions
from core.evaluation.long_context.methods import Method, logit_methods, rope_methods
from core.evaluation.long_context.needles import KINDS, Frame, Kind, NeedleTrials, TooShortError, Trial
from core.evaluation.long_context.nolima import nolima_trial, read_books, read_riddles
from core.evaluation.long_context.positions import BucketRecord, measure_texts
from core.evaluation.long_context.reading import texts_at_once
from core.evaluation.long_context.tables import BUCKETS, LONG_ANSWERS, TRIAL_RECORDS, Raw
from core.evaluation.subject import Subject
from core.recipes.recipe import Benchmark, LongContext
from core.stages.context import StageError
from core.stages.identity import LongContextIdentity
from core.stages.report import Reporter

FITS: TypeAdapter[list[Fit]] = TypeAdapter(list[Fit])


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Something that has no number, and why."""

    what: str
    why: str


@dataclass(frozen=True, kw_only=True)
class TrialSet:
    """Trials of one kind at one length; `make` raises `TooShortError` for one that does not fit."""

    kind: str
    factor: int
    count: int
    make: Callable[[int], Trial]


class Laboratory:
    """Measures one model; what it found missing is in `missing` afterwards."""

    def __init__(self, subject: Subject, measured: LongContext, documents: HeldOutDocuments) -> None:
        self.missing: list[Missing] = []
        self._subject, self._measured, self._documents = subject, measured, documents
        self._trained_length = subject.state.sequence_length
        self._ways = readings(subject.state.direction, subject.tokenizer)
        self._texts = {factor: self._texts_of(factor) for factor in measured.factors}
        self._fit: Fit | None = None

    @classmethod
    def open(cls, subject: Subject, corpus: Path, identity: LongContextIdentity) -> Laboratory:
        """Read the held-out shard; raise `StageError` when there is no text in it."""
        documents = HeldOutDocuments.read(corpus, identity.shard, subject.tokenizer, identity.measured.seed)
        if not documents.of("measuring"):
            raise StageError(f"{corpus}: shard {identity.shard} holds no text to measure on; hold another one out")
        return cls(subject, identity.measured, documents)

    def measure(self, journal: Journal, report: Reporter) -> Raw:
        """Every part, those that the journal knows already without doing them again."""
        self._fit = self._fitted(journal)
        questions = self._questions()
        sets, parts = list(self._trial_sets()), 0
        total = sum(len(self._methods(factor)) for factor in self._texts)
        total += sum(len(self._methods(one.factor)) for one in sets) + len(self._all_methods()) * bool(questions)

        def done(part: str) -> None:
            nonlocal parts
            parts += 1
            report.progress(parts, total, "parts", part)

        return Raw(
            positions=[one for found in self._positions(journal, done) for one in found],
            trials=[one for trials in sets for one in self._trials(trials, journal, done)],
            answers=self._answers(questions, journal, done),
        )

    def texts_listing(self) -> list[Mapping[str, object]]:
        """Which documents were read at each length."""
        return [
            {"factor": factor, "tokens": factor * self._trained_length, "texts": [text.listing() for text in texts]}
            for factor, texts in self._texts.items()
        ]

    def fit_listing(self) -> Mapping[str, object] | None:
        """The fitted logit scale; None for a model with RoPE, or where there was nothing to fit it on."""
        return None if self._fit is None else self._fit.listing()

    def _texts_of(self, factor: int) -> list[LongText]:
        length, wanted = factor * self._trained_length, self._measured.documents
        texts = self._documents.texts("measuring", self._first_reading, length, wanted)
        if len(texts) < wanted:
            self._miss(
                f"bits per byte at {factor}x: {wanted - len(texts)} of {wanted} texts",
                f"the held-out documents fill only {len(texts)} texts of {length:,} tokens",
            )
        return texts

    @property
    def _first_reading(self) -> Reading:
        """Forward, but for a model that only reads backward."""
        return next(iter(self._ways.values()))

    def _fitted(self, journal: Journal) -> Fit | None:
        """The logit scale of a model without RoPE."""
        factor = self._measured.factors[-1]
        if self._subject.state.use_rope or factor == 1:
            return None
        length, wanted = factor * self._trained_length, self._measured.fitting_documents
        texts = self._documents.texts("fitting", self._first_reading, length, wanted)
        if not texts:
            self._miss("logit scale", f"no held-out documents are left that fill {length:,} tokens to fit it on")
            return None
        subject = self._subject
        search = LogitScaleFit(subject.model, _matrix(texts), subject.tokenizer.token_bytes, self._trained_length)
        (fit,) = journal.records("logit scale", FITS, lambda: [search.search()])
        return fit

    def _methods(self, factor: int) -> tuple[Method, ...]:
        if self._subject.state.use_rope:
            return rope_methods(factor, self._trained_length)
        return logit_methods(factor, None if self._fit is None else self._fit.scale)

    def _all_methods(self) -> list[tuple[int, Method]]:
        return [(factor, method) for factor in self._measured.factors for method in self._methods(factor)]

    def _positions(self, journal: Journal, done: Callable[[str], None]) -> Iterator[list[BucketRecord]]:
        model, token_bytes = self._subject.model, self._subject.tokenizer.token_bytes
        for factor, texts in self._texts.items():
            for method in self._methods(factor) if texts else ():
                part = f"bits per byte {method.name} {factor}x"

                def measure(method: Method = method, texts: Sequence[LongText] = texts) -> list[BucketRecord]:
                    with method.applied(model):
                        return measure_texts(model, _matrix(texts), token_bytes, self._trained_length, method.name)

                yield journal.records(part, BUCKETS, measure)
                done(part)

    def _trial_sets(self) -> Iterator[TrialSet]:
        """Needles of each kind at each length, then riddles of NoLiMa if there are any."""
        if "forward" not in self._ways:
            self._miss("needles", "the model reads backward only: the answer would stand before the text")
            return
        tokenizer, measured = self._subject.tokenizer, self._measured
        documents = [self._documents.tokens[row] for row in self._documents.of("measuring")]
        maker = NeedleTrials(
            tokenizer=tokenizer,
            frame=self._frame(),
            held_out=Haystack.of_documents(documents, tokenizer),
            filler=Haystack.of_filler(tokenizer),
            room=measured.answer_tokens,
            choices=measured.choices,
            depths=measured.needle_depths,
            seed=measured.seed,
        )
        for factor in measured.factors:
            for kind in KINDS:
                yield TrialSet(
                    kind=kind, factor=factor, count=measured.needle_trials, make=self._needle_maker(maker, kind, factor)
                )
        yield from self._riddles(maker)

    def _needle_maker(self, maker: NeedleTrials, kind: Kind, factor: int) -> Callable[[int], Trial]:
        return lambda number: maker.trial(kind, factor * self._trained_length, number)

    def _riddles(self, maker: NeedleTrials) -> Iterator[TrialSet]:
        benchmark = self._benchmark("nolima")
        if benchmark is None:
            return
        files = benchmark_files(benchmark)
        riddles, books = read_riddles(files), read_books(files, self._subject.tokenizer)
        for factor in self._measured.factors:
            for kind in dict.fromkeys(riddle.kind for riddle in riddles):
                of_kind = [riddle for riddle in riddles if riddle.kind == kind]
                length = factor * self._trained_length
                yield TrialSet(
                    kind=kind,
                    factor=factor,
                    count=benchmark.questions,
                    make=lambda number, of_kind=of_kind, length=length: nolima_trial(  # type: ignore[misc]
                        maker, of_kind, books, length, number
                    ),
                )

    def _frame(self) -> Frame:
        """How a prompt begins and ends: a conversation for a fine-tuned model, a line of its own for a base model."""
        tokenizer, opening = self._subject.tokenizer, self._ways["forward"].opening
        if not self._can_chat:
            return Frame(before=opening, after=tuple(tokenizer.encode("\n")), asks=False)
        return Frame(
            before=(*opening, tokenizer.special("<|user_start|>")),
            after=(tokenizer.special("<|user_end|>"), tokenizer.special("<|assistant_start|>")),
            asks=True,
        )

    @property
    def _can_chat(self) -> bool:
        return self._subject.state.phase == "sft"

    @property
    def _asker(self) -> Asker:
        stops = self._subject.speaker.chat_stops
        writing = Writing(max_tokens=self._measured.answer_tokens, stops=stops) if self._can_chat else None
        return Asker(self._subject.model, self._subject.tokenizer, writing)

    def _trials(self, trials: TrialSet, journal: Journal, done: Callable[[str], None]) -> Iterator[TrialRecord]:
        asked = 0
        for method in self._methods(trials.factor):
            part = f"{trials.kind} {method.name} {trials.factor}x"

            def measure(method: Method = method) -> list[TrialRecord]:
                with method.applied(self._subject.model):
                    return list(self._asked(trials, method))

            records = journal.records(part, TRIAL_RECORDS, measure)
            asked = len(records)
            yield from records
            done(part)
        if asked < trials.count:
            self._miss(
                f"{trials.kind} at {trials.factor}x: {trials.count - asked} of {trials.count} trials",
                f"needles, question and answer do not fit into {trials.factor * self._trained_length:,} tokens",
            )

    def _asked(self, trials: TrialSet, method: Method) -> Iterator[TrialRecord]:
        """Made and asked a few at a time: 500 long prompts are not held at once."""
        at_once = texts_at_once(trials.factor * self._trained_length)
        for start in range(0, trials.count, at_once):
            numbers = range(start, min(start + at_once, trials.count))
            fitting = [trial for number in numbers if (trial := _fitting(trials, number)) is not None]
            yield from self._asker.ask(fitting, method.name, trials.factor)

    def _questions(self) -> list[LongQuestion]:
        if not self._can_chat:
            self._miss("longbench", "its questions are for models that can chat, and this one cannot")
            return []
        benchmark = self._benchmark("longbench")
        if benchmark is None:
            return []
        return read_questions(benchmark_files(benchmark), benchmark.questions, self._measured.seed)

    def _answers(
        self, questions: Sequence[LongQuestion], journal: Journal, done: Callable[[str], None]
    ) -> list[LongAnswer]:
        found: list[LongAnswer] = []
        for factor, method in self._all_methods() if questions else ():
            part = f"longbench {method.name} {factor}x"

            def measure(factor: int = factor, method: Method = method) -> list[LongAnswer]:
                with method.applied(self._subject.model):
                    answers = (self._answer(question, factor, method) for question in questions)
                    return [answer for answer in answers if answer is not None]

            answered = journal.records(part, LONG_ANSWERS, measure)
            if len(answered) < len(questions):
                self._miss(f"{part}: {len(questions) - len(answered)} of {len(questions)} questions", "they do not fit")
            found += answered
            done(part)
        return found

    def _answer(self, question: LongQuestion, factor: int, method: Method) -> LongAnswer | None:
        """None for a question that does not fit."""
        length = factor * self._trained_length
        tokenizer, most = self._subject.tokenizer, length - self._measured.answer_tokens
        try:
            prompt = question_prompt(question, tokenizer, self._frame(), most)
        except TooShortError:  # counted by who asked
            return None
        (answer,) = self._asker.write([prompt], length)
        return LongAnswer(
            method=method.name,
            factor=factor,
            task=question.task,
            id=question.id,
            prompt_tokens=len(prompt),
            answer=answer,
            answers=question.answers,
            f1=f1(answer, question.answers),
        )

    def _benchmark(self, name: str) -> Benchmark | None:
        found = next((one for one in self._measured.benchmarks if one.name == name), None)
        if found is None:
            self._miss(name, f"the recipe names no data of {REPOSITORIES[name]} in evaluation.long_context.benchmarks")
        return found

    def _miss(self, what: str, why: str) -> None:
        self.missing.append(Missing(what=what, why=why))


def _fitting(trials: TrialSet, number: int) -> Trial | None:
    try:
        return trials.make(number)
    except TooShortError:  # counted by who asked: fewer records than trials
        return None


def _matrix(texts: Sequence[LongText]) -> npt.NDArray[np.int64]:
    return np.stack([text.tokens for text in texts])
