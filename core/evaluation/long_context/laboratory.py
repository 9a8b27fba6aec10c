"""One model, the texts it is measured on, and every part of the measurement in turn.

What cannot be measured is listed as missing with its reason, and never counts as a zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from core.evaluation.journal import Journal
from core.evaluation.long_context.benchmark_data import REPOSITORIES, benchmark_files
from core.evaluation.long_context.documents import HeldOutDocuments, LongText
from core.evaluation.long_context.logit_scale_fit import Fit, LogitScaleFit
from core.evaluation.long_context.longbench import LongAnswer, read_questions
from core.evaluation.long_context.longbench_parts import longbench_parts
from core.evaluation.long_context.methods import Method, Methods
from core.evaluation.long_context.needle_parts import TrialSet, needle_sets, riddle_sets, trial_maker, trial_parts
from core.evaluation.long_context.part import Missing, Part
from core.evaluation.long_context.positions import BucketRecord, measure_texts
from core.evaluation.long_context.reader import Reader
from core.evaluation.long_context.tables import BUCKETS, Raw
from core.evaluation.subject import Subject
from core.recipes.recipe import Benchmark, LongContext
from core.stages.context import StageError
from core.stages.identity import LongContextIdentity
from core.stages.report import Reporter

FITS: TypeAdapter[list[Fit]] = TypeAdapter(list[Fit])

RecordT = TypeVar("RecordT")


class Laboratory:
    """Measures one model; what it found missing is in `missing` afterwards."""

    def __init__(self, subject: Subject, measured: LongContext, documents: HeldOutDocuments) -> None:
        self._reader = Reader(subject, measured.answer_tokens)
        self._measured, self._documents = measured, documents
        self._missing: dict[str, Missing] = {}
        self._texts = {factor: self._texts_of(factor) for factor in measured.factors}
        self._fit: Fit | None = None

    @classmethod
    def open(cls, subject: Subject, corpus: Path, identity: LongContextIdentity) -> Laboratory:
        """Read the held-out shard; raise `StageError` when there is no text in it."""
        documents = HeldOutDocuments.read(corpus, identity.shard, subject.tokenizer, identity.measured.seed)
        if not documents.of("measuring"):
            raise StageError(f"{corpus}: shard {identity.shard} holds no text to measure on; hold another one out")
        return cls(subject, identity.measured, documents)

    @property
    def missing(self) -> list[Missing]:
        """What has no number, each once."""
        return list(self._missing.values())

    def measure(self, journal: Journal, report: Reporter) -> Raw:
        """Every part, those that the journal knows already without doing them again."""
        self._fit = self._fitted(journal)
        state = self._reader.subject.state
        methods = Methods(
            use_rope=state.use_rope,
            trained_length=state.sequence_length,
            logit_scale=None if self._fit is None else self._fit.scale,
        )
        positions = list(self._position_parts(methods))
        trials = list(chain.from_iterable(trial_parts(self._reader, methods, one) for one in self._trial_sets()))
        answers = list(self._longbench_parts(methods))
        total, finished = len(positions) + len(trials) + len(answers), 0

        def records(parts: Sequence[Part[RecordT]]) -> Iterator[RecordT]:
            nonlocal finished
            for part in parts:
                found = journal.records(part.name, part.kind, part.measure)
                self._miss(part.shortfall(len(found)))
                finished += 1
                report.progress(finished, total, "parts", part.name)
                yield from found

        return Raw(positions=[*records(positions)], trials=[*records(trials)], answers=[*records(answers)])

    def texts_listing(self) -> list[Mapping[str, object]]:
        """Which documents were read at each length."""
        return [
            {"factor": factor, "tokens": self._length(factor), "texts": [text.listing() for text in texts]}
            for factor, texts in self._texts.items()
        ]

    def fit_listing(self) -> Mapping[str, object] | None:
        """The fitted logit scale; None for a model with RoPE, or where there was nothing to fit it on."""
        return None if self._fit is None else self._fit.listing()

    def _length(self, factor: int) -> int:
        return factor * self._reader.trained_length

    def _texts_of(self, factor: int) -> list[LongText]:
        length, wanted = self._length(factor), self._measured.documents
        texts = self._documents.texts("measuring", self._reader.first_reading, length, wanted)
        if len(texts) < wanted:
            what = f"bits per byte at {factor}x: {wanted - len(texts)} of {wanted} texts"
            why = f"the held-out documents fill only {len(texts)} texts of {length:,} tokens"
            self._miss(Missing(what=what, why=why))
        return texts

    def _fitted(self, journal: Journal) -> Fit | None:
        """The logit scale of a model without RoPE."""
        subject, factor = self._reader.subject, self._measured.factors[-1]
        if subject.state.use_rope or factor == 1:
            return None
        length, wanted = self._length(factor), self._measured.fitting_documents
        texts = self._documents.texts("fitting", self._reader.first_reading, length, wanted)
        if not texts:
            why = f"no held-out documents are left that fill {length:,} tokens to fit it on"
            self._miss(Missing(what="logit scale", why=why))
            return None
        search = LogitScaleFit(
            subject.model, _matrix(texts), subject.tokenizer.token_bytes, self._reader.trained_length
        )
        (fit,) = journal.records("logit scale", FITS, lambda: [search.search()])
        return fit

    def _position_parts(self, methods: Methods) -> Iterator[Part[BucketRecord]]:
        for factor, texts in self._texts.items():
            for method in methods.at(factor) if texts else ():
                name = f"bits per byte {method.name} {factor}x"
                yield Part(name=name, kind=BUCKETS, measure=self._bucketing(method, texts))

    def _bucketing(self, method: Method, texts: Sequence[LongText]) -> Callable[[], list[BucketRecord]]:
        subject, trained_length = self._reader.subject, self._reader.trained_length

        def measure() -> list[BucketRecord]:
            with method.applied(subject.model):
                token_bytes = subject.tokenizer.token_bytes
                return measure_texts(subject.model, _matrix(texts), token_bytes, trained_length, method.name)

        return measure

    def _trial_sets(self) -> Iterator[TrialSet]:
        if "forward" not in self._reader.ways:
            why = "the model reads backward only: the answer would stand before the text"
            self._miss(Missing(what="needles", why=why))
            return
        documents = [self._documents.tokens[row] for row in self._documents.of("measuring")]
        maker, trained_length = trial_maker(self._reader, self._measured, documents), self._reader.trained_length
        yield from needle_sets(maker, self._measured, trained_length)
        nolima = self._benchmark("nolima")
        if nolima is not None:
            files, factors = benchmark_files(nolima), self._measured.factors
            yield from riddle_sets(maker, files, nolima.questions, factors, trained_length)

    def _longbench_parts(self, methods: Methods) -> Iterator[Part[LongAnswer]]:
        if not self._reader.can_chat:
            why = "its questions are for models that can chat, and this one cannot"
            self._miss(Missing(what="longbench", why=why))
            return
        benchmark = self._benchmark("longbench")
        if benchmark is not None:
            questions = read_questions(benchmark_files(benchmark), benchmark.questions, self._measured.seed)
            yield from longbench_parts(self._reader, methods, self._measured.factors, questions)

    def _benchmark(self, name: str) -> Benchmark | None:
        found = next((one for one in self._measured.benchmarks if one.name == name), None)
        if found is None:
            why = f"the recipe names no data of {REPOSITORIES[name]} in evaluation.long_context.benchmarks"
            self._miss(Missing(what=name, why=why))
        return found

    def _miss(self, missing: Missing | None) -> None:
        if missing is not None:
            self._missing[missing.what] = missing


def _matrix(texts: Sequence[LongText]) -> npt.NDArray[np.int64]:
    return np.stack([text.tokens for text in texts])
