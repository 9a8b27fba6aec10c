"""Programming: the 164 functions of openai/openai_humaneval, judged by running them. There is no training split."""

from __future__ import annotations

from core.posttraining.conversation import Conversation, assistant, user
from core.posttraining.tasks.hub import HubSplit, HubTask, Row
from core.posttraining.tasks.judge import ProgramJudge
from core.posttraining.tasks.task import Exercise


def parse(row: Row) -> Conversation:
    """A row {prompt, canonical_solution, test, entry_point}; the answer is the whole function, as a model writes it."""
    return Exercise(
        (user(row["prompt"]), assistant(row["prompt"] + row["canonical_solution"])),
        checks=f"{row['test']}\ncheck({row['entry_point']})\n",
    )


TASK = HubTask(
    name="humaneval",
    unique_answer=False,
    judge=ProgramJudge(),
    training=None,
    validation=HubSplit(
        repository="openai/openai_humaneval",
        config="openai_humaneval",
        split="test",
        revision="7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544",
    ),
    parse=parse,
)
