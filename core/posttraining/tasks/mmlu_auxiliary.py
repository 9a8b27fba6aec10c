"""Multiple choice: the 99,842 auxiliary training questions of cais/mmlu; its test set validates.

The letter stands after its choice: a small model then binds the two more easily than the other way round.
"""

from __future__ import annotations

from dataclasses import replace

from core.posttraining.conversation import Conversation, assistant, user
from core.posttraining.tasks.hub import HubSplit, HubTask, Row

LETTERS = "ABCD"

TRAINING = HubSplit(
    repository="cais/mmlu",
    config="all",
    split="auxiliary_train",
    revision="c30699e8356da336a370243923dbaf21066bb9fe",
)


def parse(row: Row) -> Conversation:
    """A row {question, choices: [4], answer: 0...3} as a question with its choices, answered by one letter."""
    choices = "".join(f"- {choice}={letter}\n" for letter, choice in zip(LETTERS, row["choices"], strict=True))
    question = f"Multiple choice: {row['question']}\n{choices}\nAnswer with the letter of the right choice only."
    return Conversation((user(question), assistant(LETTERS[row["answer"]])))


TASK = HubTask(
    name="mmlu-auxiliary",
    unique_answer=True,
    training=TRAINING,
    validation=replace(TRAINING, split="test"),
    parse=parse,
)
