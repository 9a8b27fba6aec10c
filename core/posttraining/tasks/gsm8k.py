"""Word problems: openai/gsm8k, whose calculator marks <<48/2=24>> become calls of Python and their output."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from core.posttraining.conversation import Conversation, Part, assistant, user
from core.posttraining.tasks.hub import HubSplit, HubTask, Row
from core.posttraining.tasks.judge import AnswerJudge, same_final_number

CALCULATION = re.compile(r"<<([^<>]*)=([^<>=]*)>>")

TRAINING = HubSplit(
    repository="openai/gsm8k",
    config="main",
    split="train",
    revision="e53f048856ff4f594e959d75785d2c2d37b678ee",
)


def parse(row: Row) -> Conversation:
    """A row {question, answer}; the answer ends with `#### ` and the result."""
    return Conversation((user(row["question"]), assistant(*_parts(row["answer"]))))


def _parts(answer: str) -> Iterator[Part]:
    end = 0
    for calculation in CALCULATION.finditer(answer):
        if calculation.start() > end:
            yield Part("text", answer[end : calculation.start()])
        expression, result = calculation.groups()
        yield Part("python", expression)
        yield Part("python_output", result)
        end = calculation.end()
    if end < len(answer) or end == 0:
        yield Part("text", answer[end:])


TASK = HubTask(
    name="gsm8k",
    unique_answer=False,
    judge=AnswerJudge(same_final_number),
    training=TRAINING,
    validation=replace(TRAINING, split="test"),
    parse=parse,
)
