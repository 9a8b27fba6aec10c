"""How an answer to a question of a task is judged, and what chance alone would get right.

A task without a judge has no right answers. What a model was given and what it wrote is the business of evaluation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from core.posttraining.conversation import Conversation

FINAL = re.compile(r"####\s*\$?(-?[\d,]*\.?\d+)")


@dataclass(frozen=True)
class LetterJudge:
    """Multiple choice: the likeliest of the letters where the answer begins."""

    letters: tuple[str, ...]  # every letter that some question offers; a question says which are its own
    baseline: float  # accuracy of guessing


@dataclass(frozen=True)
class AnswerJudge:
    """Generated text against the conversation that ends in the reference answer.

    The text is what the model wrote and what Python printed for it, special tokens by name, without the one that ended
    the answer.
    """

    correct: Callable[[Conversation, str], bool]
    baseline: float = 0.0


@dataclass(frozen=True)
class ProgramJudge:
    """Generated Python, run in a sandbox before the checks of its question."""

    baseline: float = 0.0


Judge = LetterJudge | AnswerJudge | ProgramJudge


def same_text(reference: Conversation, answer: str) -> bool:
    """The answer is the reference to the letter, but for space around it."""
    return answer.strip() == reference.messages[-1].text.strip()


def same_final_number(reference: Conversation, answer: str) -> bool:
    """Both end in `#### ` and the same number, compared as text without its commas."""
    wanted = final_number(reference.messages[-1].text)
    return wanted is not None and final_number(answer) == wanted


def final_number(text: str) -> str | None:
    """The number after the last `####`, without commas; None when there is none."""
    found = FINAL.findall(text)
    return found[-1].replace(",", "") if found else None
