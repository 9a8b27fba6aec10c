"""Spell a word: the answer is the word, a colon, and its letters between commas. Teaches what tokens hide."""

from __future__ import annotations

import random
from collections.abc import Sequence

from core.posttraining.conversation import Conversation, assistant, user
from core.posttraining.tasks.judge import AnswerJudge, same_text
from core.posttraining.tasks.task import GeneratedTask


def spell(word: str) -> str:
    """`cat` -> `c,a,t`."""
    return ",".join(word)


def make(generator: random.Random, words: Sequence[str]) -> Conversation:
    """One word, each as likely as another."""
    word = generator.choice(words)
    return Conversation((user(f"Spell the word: {word}"), assistant(f"{word}:{spell(word)}")))


TASK = GeneratedTask(name="simple-spelling", unique_answer=True, judge=AnswerJudge(same_text), all_rows=None, make=make)
