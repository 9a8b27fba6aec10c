"""Asking a chat model the questions of its tasks, and judging what it answers: one record a question.

Letters are chosen by logits. Everything else is generated greedily in batches, with tools, until the model ends its
turn, has written its tokens or has filled its context. A question that does not fit the context is recorded as such,
neither cut nor counted as wrong.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
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
    needed = 0 if isinstance(judge, LetterJudge) else 1  # tokens after the prompt; the first letter is not read
    prompts = [_prompt(subject, question, needed) for question in questions]
    fitting = [(index, prompt) for index, prompt in enumerate(prompts) if prompt is not None]
    asked = [questions[index] for index, _ in fitting]
    tokens = [prompt for _, prompt in fitting]
    if isinstance(judge, LetterJudge):
        choices = [Choice(prompt, question.letters) for question, prompt in zip(asked, tokens, strict=True)]
        answers = likeliest_letters(subject.model, subject.tokenizer, choices)
    else:
        answers = _generated(subject, tokens, answer_tokens)
    verdicts = _verdicts(judge, asked, answers)
    found = {index: pair for (index, _), pair in zip(fitting, zip(answers, verdicts, strict=True), strict=True)}
    return [
        _record(task, number, question, *found.get(number, (None, None))) for number, question in enumerate(questions)
    ]


def _prompt(subject: Subject, question: Question, needed: int) -> tuple[int, ...] | None:
    most = subject.state.sequence_length - needed
    try:
        return subject.speaker.chat_prompt(question.conversation.before_answer(), max_tokens=most)
    except PromptTooLongError:
        return None


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
    is_right: Callable[[Question, str], bool]
    match judge:
        case LetterJudge():
            is_right = _same_letter
        case AnswerJudge(correct=correct):
            is_right = lambda question, answer: correct(question.conversation, answer)  # noqa: E731
        case ProgramJudge():
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                return list(pool.map(_program_passes, questions, answers))
    return [is_right(question, answer) for question, answer in zip(questions, answers, strict=True)]


def _same_letter(question: Question, answer: str) -> bool:
    return answer == question.conversation.messages[-1].text


def _program_passes(question: Question, answer: str) -> bool:
    prompt = question.conversation.before_answer().messages[-1].text
    return passes(python_program(prompt, answer, question.checks))


def _record(task: str, number: int, question: Question, answer: str | None, correct: bool | None) -> Answered:
    return Answered(
        task=task,
        number=number,
        prompt=question.conversation.before_answer().messages[-1].text,
        answer=answer,
        reference=question.conversation.messages[-1].text,
        correct=correct,
    )
