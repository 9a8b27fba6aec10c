"""The questions stage: the examination questions of some tasks as text, `questions.jsonl`, one object a line.

Evaluation asks them and decontamination looks for them in the training text, neither of which then needs the data sets.
Questions come from a task's validation split: none of them stands in its training rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.posttraining.conversation import Conversation, ConversationError, conversation_json, parse_conversation
from core.posttraining.tasks.table import find_tasks
from core.posttraining.tasks.task import Examples, Exercise, Material, Task
from core.posttraining.words import collect_words
from core.recipes.recipe import MixtureTask
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import QuestionsIdentity

FILE = "questions.jsonl"


@dataclass(frozen=True)
class Question:
    """One question of a task: a conversation that ends in the reference answer."""

    task: str
    conversation: Conversation
    letters: tuple[str, ...] = ()  # those it chooses between; none unless it is multiple choice
    checks: str = ""  # a program that judges the program before it; none unless programs are asked for


def produce(context: StageContext[QuestionsIdentity]) -> Metrics:
    """Write the questions, task by task; raise `StageError` for a task whose answers nobody can judge."""
    lines = context.identity.tasks
    tasks = examinable(lines)
    material = Material(collect_words(context.inputs["corpus"]))
    opened = [task.open("validation", line.rows, material) for task, line in zip(tasks, lines, strict=True)]
    for task, examples in zip(tasks, opened, strict=True):
        context.report.log(f"{task.name}: {len(examples):,} questions, {examples.origin}")
    questions = (
        question_of(task.name, example)
        for task, examples in zip(tasks, opened, strict=True)
        for example in _each(examples)
    )
    write_questions(context.output, questions)
    counts = {task.name: len(examples) for task, examples in zip(tasks, opened, strict=True)}
    origins = {task.name: examples.origin for task, examples in zip(tasks, opened, strict=True)}
    return {"questions": sum(counts.values()), "tasks": counts, "origins": origins}


def examinable(lines: Sequence[MixtureTask]) -> list[Task]:
    """The tasks of these lines; raise `StageError` where asking makes no sense."""
    tasks = find_tasks(lines)
    for task, line in zip(tasks, lines, strict=True):
        if task.judge is None:
            raise StageError(f"task {task.name} has no right answers to examine; take it out of evaluation.questions")
        if line.epochs != 1:
            raise StageError(f"questions of {task.name} are asked once, not {line.epochs} times; leave epochs out")
    return tasks


def question_of(task: str, example: Conversation) -> Question:
    """One example of a task as a question."""
    conversation = Conversation(example.messages)
    if isinstance(example, Exercise):
        return Question(task, conversation, example.letters, example.checks)
    return Question(task, conversation)


def write_questions(folder: Path, questions: Iterable[Question]) -> None:
    """Write all of them, in order."""
    with (folder / FILE).open("w", encoding="utf-8", newline="\n") as file:
        for question in questions:
            extra = {"letters": list(question.letters), "checks": question.checks}
            head = {"task": question.task, **{name: value for name, value in extra.items() if value}}
            file.write(json.dumps({**head, **conversation_json(question.conversation)}, ensure_ascii=False) + "\n")


def read_questions(folder: Path) -> list[Question]:
    """Read what `write_questions` wrote; raise `StageError` naming the line that is damaged."""
    path = folder / FILE
    if not path.is_file():
        raise StageError(f"{folder} holds no questions: {FILE} is missing")
    questions = []
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            try:
                fields = json.loads(line)
                conversation = parse_conversation(fields)
                letters = tuple(fields.get("letters", ()))
                questions.append(Question(fields["task"], conversation, letters, fields.get("checks", "")))
            except (ConversationError, ValueError, KeyError, TypeError) as error:
                raise StageError(f"{path}: line {number} is damaged: {error}; make the questions again") from error
    return questions


def _each(examples: Examples) -> Iterator[Conversation]:
    return (examples[index] for index in range(len(examples)))
