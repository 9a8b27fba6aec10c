"""Asking a chat model the questions of its tasks, and judging what it answers: one record a question.

Letters are chosen by logits. Everything else is generated greedily in batches, with tools, until the model ends its
turn, has written its tokens or has filled its context. A question that does not fit the context is recorded as such,
neither cut nor counted as wrong.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from core.evaluation.letters import Choice, likeliest_letters
from core.evaluation.program import passes, python_program
from core.evaluation.subject import Subject
from core.inference.engine import Request
from core.inference.generate import answer
from core.inference.sampling import Sampling
from core.inference.tools import Tools
from core.posttraining.questions import Question
from core.posttraining.rendering import PromptTooLongError
from core.posttraining.tasks.judge import AnswerJudge, Judge, LetterJudge, ProgramJudge
from core.posttraining.tasks.table import find_task
from core.stages.context import StageError


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One question with its answer; both verdicts are None where the question does not fit the context."""

    task: str
    number: int  # of the question in its task, from 0
    prompt: str
    answer: str | None
    reference: str
    correct: bool | None


def judge_of(task: str) -> Judge:
    """How answers of a task are judged; raises `StageError` when nobody can."""
    judge = find_task(task).judge
    if judge is None:
        raise StageError(f"task {task} has no right answers, so its questions cannot be part of an examination")
    return judge


def examine(subject: Subject, task: str, questions: Sequence[Question], answer_tokens: int) -> list[Answered]:
    """Ask all questions of one task; generated answers have at most `answer_tokens` tokens."""
    judge = judge_of(task)
    prompts = [_prompt(subject, question, judge) for question in questions]
    fitting = {number: prompt for number, prompt in enumerate(prompts) if prompt is not None}
    asked = [questions[number] for number in fitting]
    answers = _answers(subject, judge, asked, list(fitting.values()), answer_tokens)
    given = dict(zip(fitting, zip(answers, _verdicts(judge, asked, answers), strict=True), strict=True))
    return [_record(number, question, *given.get(number, (None, None))) for number, question in enumerate(questions)]


def _prompt(subject: Subject, question: Question, judge: Judge) -> tuple[int, ...] | None:
    """Ids that leave room for an answer; None when they do not fit. A letter needs none: nothing is read after it."""
    room = 0 if isinstance(judge, LetterJudge) else 1
    most = subject.state.sequence_length - room
    try:
        return subject.speaker.chat_prompt(question.conversation.before_answer(), max_tokens=most)
    except PromptTooLongError:
        return None


def _answers(
    subject: Subject,
    judge: Judge,
    questions: Sequence[Question],
    prompts: Sequence[tuple[int, ...]],
    answer_tokens: int,
) -> list[str]:
    if isinstance(judge, LetterJudge):
        choices = [Choice(prompt, question.letters) for question, prompt in zip(questions, prompts, strict=True)]
        return likeliest_letters(subject.model, subject.tokenizer, choices)
    return _generated(subject, prompts, answer_tokens)


def _generated(subject: Subject, prompts: Sequence[tuple[int, ...]], answer_tokens: int) -> list[str]:
    context, tools = subject.state.sequence_length, Tools(subject.tokenizer)
    requests = [
        Request(
            prompt=prompt,
            sampling=Sampling(max_tokens=min(answer_tokens, context - len(prompt)), temperature=0),
            stop_tokens=subject.speaker.chat_stops,
            tools=tools,
        )
        for prompt in prompts
    ]
    return [subject.tokenizer.decode(ids) for ids in answer(subject.model, requests, context_tokens=context)]


def _verdicts(judge: Judge, questions: Sequence[Question], answers: Sequence[str]) -> list[bool]:
    pairs = list(zip(questions, answers, strict=True))
    match judge:
        case LetterJudge():
            return [answer == question.conversation.messages[-1].text for question, answer in pairs]
        case AnswerJudge(correct=correct):
            return [correct(question.conversation, answer) for question, answer in pairs]
        case ProgramJudge():
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                return list(pool.map(_program_passes, questions, answers))


def _program_passes(question: Question, answer: str) -> bool:
    prompt = question.conversation.before_answer().messages[-1].text
    return passes(python_program(prompt, answer, question.checks))


def _record(number: int, question: Question, answer: str | None, correct: bool | None) -> Answered:
    return Answered(
        task=question.task,
        number=number,
        prompt=question.conversation.before_answer().messages[-1].text,
        answer=answer,
        reference=question.conversation.messages[-1].text,
        correct=correct,
    )
