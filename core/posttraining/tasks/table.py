"""The one table of tasks: every name that a recipe's mixture may use."""

from __future__ import annotations

from difflib import get_close_matches

from core.posttraining.tasks import (
    gsm8k,
    identity,
    mmlu_auxiliary,
    simple_spelling,
    smol_smoltalk,
    spelling_bee,
    tulu_long,
)
from core.posttraining.tasks.task import Task
from core.stages.context import StageError

_ALL: tuple[Task, ...] = (
    simple_spelling.TASK,
    spelling_bee.TASK,
    identity.TASK,
    smol_smoltalk.TASK,
    mmlu_auxiliary.TASK,
    gsm8k.TASK,
    tulu_long.TASK,
)
TASKS: dict[str, Task] = {task.name: task for task in _ALL}


def find_task(name: str) -> Task:
    """The task called `name`; raise `StageError` that lists what there is."""
    if name not in TASKS:
        near = get_close_matches(name, TASKS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise StageError(f"no fine-tuning task is called {name!r}{hint} There are: {', '.join(TASKS)}")
    return TASKS[name]
