"""The chat suite: bits per byte of held-out answers, exact answers where only one is right, an examination, samples.

The validation folder is a mixture; its words and conversations never stood in the training rows of the same mixture,
and neither did the questions. Answers are greedy, so the suite has no randomness at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice, zip_longest
from typing import Protocol, TypeVar

from core.data.rows import Rows
from core.evaluation.exact_answers import exact_answers
from core.evaluation.examination import Answered, examine, judge_of
from core.evaluation.findings import Findings
from core.evaluation.held_out_rows import rows_of
from core.evaluation.long_context.part import Missing
from core.evaluation.measured_rows import measure_rows
from core.evaluation.measurement import Measurement, wilson_interval
from core.evaluation.samples import Sample
from core.evaluation.scores import Examination, score
from core.evaluation.subject import Subject
from core.inference.sampling import Sampling
from core.inference.tools import Tools
from core.posttraining.held_out import HeldOut, read_held_out
from core.posttraining.questions import Question, read_questions
from core.posttraining.rendering import PromptTooLongError, render
from core.stages.context import StageContext
from core.stages.identity import EvaluateIdentity
from core.stages.report import Reporter

QUESTIONS = 256  # of one held-out task, at most


class OfTask(Protocol):
    """What belongs to a task."""

    @property
    def task(self) -> str:
        """Its name."""


OfTaskT = TypeVar("OfTaskT", bound=OfTask)


def chat_suite(subject: Subject, context: StageContext[EvaluateIdentity]) -> Findings:
    """Measure, examine and sample; input `validation` is a mixture, `questions` are those of the examination."""
    identity, report = context.identity, context.report
    validation = context.inputs["validation"]
    rows, masks = Rows.open(validation, "validation.rows"), Rows.open(validation, "validation.mask")
    count = rows_of(rows, identity.validation_tokens)
    measured = measure_rows(subject, rows, count, set_name="validation", way="forward", masks=masks)
    bits = measured.bits_per_byte(identity.seed)
    report.log(f"{bits.value:.4f} bits per byte on {bits.sample_size:,} bytes of answers")
    held_out = group_by_task(read_held_out(validation))
    examination = examine_all(subject, read_questions(context.inputs["questions"]), identity.answer_tokens, report)
    exact = dict(_exact_answers(subject, held_out, report))
    results = {"bits_per_byte": bits, **examination.results, **{name: one for name, one in exact.items() if one}}
    transcripts = islice(_transcripts(subject, held_out, identity), identity.samples)
    return Findings(
        results,
        (*transcripts, *_right_and_wrong(examination)),
        f"Greedy, at most {identity.sample_tokens} tokens, to a question at most {identity.answer_tokens}; "
        "calls of Python are evaluated.",
        examination,
        rows=(measured,),
        missing=tuple(_missing(name) for name, one in exact.items() if one is None),
    )


def group_by_task(examples: Sequence[OfTaskT]) -> dict[str, list[OfTaskT]]:
    """Examples by the name of their task, in order."""
    groups: dict[str, list[OfTaskT]] = {}
    for example in examples:
        groups.setdefault(example.task, []).append(example)
    return groups


def examine_all(subject: Subject, questions: Sequence[Question], answer_tokens: int, report: Reporter) -> Examination:
    """Ask the questions of one task after another."""
    scores, answers = [], []
    for task, asked in group_by_task(questions).items():
        found = examine(subject, task, asked, answer_tokens)
        each = score(task, judge_of(task).baseline, found)
        report.log(f"{task}: {each.correct:,} of {each.asked:,} right, {each.too_long:,} do not fit the context")
        scores.append(each)
        answers += found
    return Examination(tuple(scores), tuple(answers))


def _exact_answers(
    subject: Subject, held_out: dict[str, list[HeldOut]], report: Reporter
) -> Iterator[tuple[str, Measurement | None]]:
    """The share of exact answers of each task whose questions decide them, by the name of the measurement."""
    for task, examples in held_out.items():
        if examples[0].unique_answer:
            accuracy = measure_exact_answers(subject, examples[:QUESTIONS])
            if accuracy is not None:
                report.log(f"{task}: {accuracy.value:.1%} of {accuracy.sample_size} answers exact")
            yield f"exact_answers/{task}", accuracy


def _missing(name: str) -> Missing:
    return Missing(what=name, why="no held-out conversation fits the model's context")


def measure_exact_answers(subject: Subject, examples: Sequence[HeldOut]) -> Measurement | None:
    """Share of exact answers among the conversations that fit the model's context; None when none fits."""
    context = subject.state.sequence_length
    rendered = [render(example.conversation, subject.tokenizer, context) for example in examples]
    found = exact_answers(subject.model, [whole for whole in rendered if not whole.cut])
    if not found:
        return None
    return Measurement(
        value=sum(found) / len(found),
        unit="share of answers exact to the letter",
        sample_size=len(found),
        sample_unit="questions",
        interval=wilson_interval(sum(found), len(found)),
    )


def _transcripts(subject: Subject, by_task: dict[str, list[HeldOut]], identity: EvaluateIdentity) -> Iterator[Sample]:
    """Answers to one held-out question of each task in turn, leaving out prompts that leave no room for an answer."""
    tokenizer, context = subject.tokenizer, subject.state.sequence_length
    sampling, tools = Sampling(max_tokens=identity.sample_tokens, temperature=0), Tools(subject.tokenizer)
    for example in _in_turn(list(by_task.values())):
        question = example.conversation.before_answer()
        try:
            prompt = subject.speaker.chat_prompt(question, max_tokens=context - sampling.max_tokens)
        except PromptTooLongError:
            continue
        wanted = render(example.conversation, tokenizer, context).tokens[len(prompt) :]
        yield Sample(
            title=example.task,
            prompt=question.messages[-1].text,
            answer=tokenizer.decode(subject.written(prompt, sampling, subject.speaker.chat_stops, tools)),
            reference=tokenizer.decode(wanted),
        )


def _right_and_wrong(examination: Examination) -> Iterator[Sample]:
    """Of each task the first answer that is right and the first that is wrong."""
    for task, answers in group_by_task(examination.answers).items():
        for verdict, word in ((True, "right"), (False, "wrong")):
            first = next((answer for answer in answers if answer.correct is verdict), None)
            if first is not None:
                yield _as_sample(first, f"{task}, question {first.number}: {word}")


def _as_sample(answered: Answered, title: str) -> Sample:
    return Sample(title=title, prompt=answered.prompt, answer=answered.answer or "", reference=answered.reference)


def _in_turn(groups: Sequence[Sequence[HeldOut]]) -> Iterator[HeldOut]:
    return (example for example in chain.from_iterable(zip_longest(*groups)) if example is not None)
