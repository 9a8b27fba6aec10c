"""Sums, differences and products of small numbers, worked out by a call of Python and written like GSM8K's answers."""

from __future__ import annotations

import operator
import random
from collections.abc import Sequence

from core.posttraining.conversation import Conversation, Part, assistant, user
from core.posttraining.tasks.judge import AnswerJudge, same_final_number
from core.posttraining.tasks.task import GeneratedTask

LARGEST = 99
OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul}
WORDINGS = ("What is {expression}?", "Compute {expression}.", "How much is {expression}?", "{expression} = ?")


def make(generator: random.Random, words: Sequence[str]) -> Conversation:
    """Draw two numbers, an operation and a wording."""
    left, right = generator.randint(0, LARGEST), generator.randint(0, LARGEST)
    sign = generator.choice(tuple(OPERATIONS))
    result = str(OPERATIONS[sign](left, right))
    question = generator.choice(WORDINGS).format(expression=f"{left} {sign} {right}")
    parts = (Part("python", f"{left}{sign}{right}"), Part("python_output", result))
    return Conversation((user(question), assistant(*parts, f"\n#### {result}")))


TASK = GeneratedTask(
    name="arithmetic",
    unique_answer=True,
    judge=AnswerJudge(same_final_number),
    all_rows=None,
    make=make,
)
