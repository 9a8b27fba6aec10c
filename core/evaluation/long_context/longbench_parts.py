"""Asking LongBench's questions: one part for each length and method."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from core.evaluation.long_context.longbench import LongAnswer, LongQuestion, f1, question_prompt
from core.evaluation.long_context.methods import Method, Methods
from core.evaluation.long_context.needles import TooShortError
from core.evaluation.long_context.part import Missing, Part
from core.evaluation.long_context.reader import Reader
from core.evaluation.long_context.tables import LONG_ANSWERS


def longbench_parts(
    reader: Reader, methods: Methods, factors: Sequence[int], questions: Sequence[LongQuestion]
) -> Iterator[Part[LongAnswer]]:
    """Questions that do not fit have no record."""
    for factor in factors:
        missing = Missing(what=f"longbench at {factor}x", why="questions do not fit beside any text")
        for method in methods.at(factor):
            yield Part(
                name=f"longbench {method.name} {factor}x",
                kind=LONG_ANSWERS,
                measure=_asking(reader, questions, method, factor),
                wanted=len(questions),
                missing=missing,
            )


def _asking(
    reader: Reader, questions: Sequence[LongQuestion], method: Method, factor: int
) -> Callable[[], list[LongAnswer]]:
    def ask() -> list[LongAnswer]:
        with method.applied(reader.subject.model):
            answers = (_answer(reader, question, method, factor) for question in questions)
            return [answer for answer in answers if answer is not None]

    return ask


def _answer(reader: Reader, question: LongQuestion, method: Method, factor: int) -> LongAnswer | None:
    length = factor * reader.trained_length
    try:
        prompt = question_prompt(question, reader.subject.tokenizer, reader.frame, length - reader.room)
    except TooShortError:  # reported as missing by the number of records
        return None
    (answer,) = reader.asker.write([prompt], length)
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
