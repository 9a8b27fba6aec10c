"""Science questions of allenai/ai2_arc, the easy ones and the challenging ones: three to five choices each.

A few questions call their choices 1 to 4; the letters are kept as the data set has them.
"""

from __future__ import annotations

from dataclasses import replace

from core.posttraining.conversation import Conversation
from core.posttraining.tasks.hub import HubSplit, HubTask, Row
from core.posttraining.tasks.judge import LetterJudge
from core.posttraining.tasks.multiple_choice import LETTERS, multiple_choice

JUDGE = LetterJudge((*LETTERS, "1", "2", "3", "4", "5"), baseline=0.25)


def parse(row: Row) -> Conversation:
    """A row {question, choices: {text: [...], label: [...]}, answerKey}."""
    return multiple_choice(row["question"], row["choices"]["text"], row["answerKey"], row["choices"]["label"])


def _task(name: str, config: str) -> HubTask:
    training = HubSplit(
        repository="allenai/ai2_arc",
        config=config,
        split="train",
        revision="210d026faf9955653af8916fad021475a3f00453",
    )
    return HubTask(
        name=name,
        unique_answer=True,
        judge=JUDGE,
        training=training,
        validation=replace(training, split="test"),
        parse=parse,
    )


EASY = _task("arc-easy", "ARC-Easy")
CHALLENGE = _task("arc-challenge", "ARC-Challenge")
