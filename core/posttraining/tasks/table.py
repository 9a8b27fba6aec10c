"""The one table of tasks: every name that a recipe's mixture may use, beside files of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from core.posttraining.tasks import (
    arc,
    arithmetic,
    conversation_file,
    gsm8k,
    humaneval,
    identity,
    mmlu,
    simple_spelling,
    smol_smoltalk,
    spelling_bee,
    tulu_long,
    word_choice,
)
from core.posttraining.tasks.task import Task
from core.recipes.recipe import MixtureTask
from core.stages.context import StageError

_ALL: tuple[Task, ...] = (
    simple_spelling.TASK,
    spelling_bee.TASK,
    identity.TASK,
    smol_smoltalk.TASK,
    mmlu.TASK,
    gsm8k.TASK,
    tulu_long.TASK,
    arithmetic.TASK,
    word_choice.TASK,
    arc.EASY,
    arc.CHALLENGE,
    humaneval.TASK,
)
TASKS: dict[str, Task] = {task.name: task for task in _ALL}


def find_task(name: str) -> Task:
    """The task called `name`, or of the file that it names; raise `StageError` that lists what there is."""
    if name.startswith(f"{conversation_file.SCHEME}:"):
        return conversation_file.ConversationFile(name)
    if name not in TASKS:
        near = get_close_matches(name, TASKS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        known = ", ".join([*TASKS, f"{conversation_file.SCHEME}:URL"])
        raise StageError(f"no fine-tuning task is called {name!r}{hint} There are: {known}")
    return TASKS[name]


def find_tasks(lines: Sequence[MixtureTask]) -> list[Task]:
    """The task of each line; raise `StageError` for an unknown name, or one that stands twice."""
    names = [line.name for line in lines]
    for name in names:
        if names.count(name) > 1:
            raise StageError(f"task {name} stands twice in one list; list it once and raise its epochs")
    return [find_task(name) for name in names]
