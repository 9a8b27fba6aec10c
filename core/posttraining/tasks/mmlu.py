"""Multiple choice: the 99,842 auxiliary training questions of cais/mmlu; its test set validates and examines."""

from __future__ import annotations

from dataclasses import replace

from core.posttraining.conversation import Conversation
from core.posttraining.tasks.hub import HubSplit, HubTask, Row
from core.posttraining.tasks.judge import LetterJudge
from core.posttraining.tasks.multiple_choice import LETTERS, multiple_choice

TRAINING = HubSplit(
    repository="cais/mmlu",
    config="all",
    split="auxiliary_train",
    revision="c30699e8356da336a370243923dbaf21066bb9fe",
)


def parse(row: Row) -> Conversation:
    """A row {question, choices: [4], answer: 0...3}."""
    return multiple_choice(row["question"], row["choices"], LETTERS[row["answer"]])


TASK = HubTask(
    name="mmlu",
    unique_answer=True,
    judge=LetterJudge(LETTERS[:4], baseline=0.25),
    training=TRAINING,
    validation=replace(TRAINING, split="test"),
    parse=parse,
)
