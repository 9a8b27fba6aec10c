"""Multiple choice without a data set: which of four words begins with a letter? A first letter, so some tokens tell."""

from __future__ import annotations

import random
from collections.abc import Sequence

from core.posttraining.conversation import Conversation
from core.posttraining.tasks.judge import LetterJudge
from core.posttraining.tasks.multiple_choice import LETTERS, multiple_choice
from core.posttraining.tasks.task import GeneratedTask

CHOICES = 4
TRIES = 100  # at words with another first letter


def make(generator: random.Random, words: Sequence[str]) -> Conversation:
    """One word that begins with the letter, and three that do not; fewer where the words hardly differ."""
    right = generator.choice(words)
    drawn = (generator.choice(words) for _ in range(TRIES))
    others = list(dict.fromkeys(word for word in drawn if word[0] != right[0]))[: CHOICES - 1]
    place = generator.randint(0, len(others))
    choices = [*others[:place], right, *others[place:]]
    return multiple_choice(f"Which word begins with {right[0]}?", choices, LETTERS[place])


TASK = GeneratedTask(
    name="word-choice",
    unique_answer=True,
    judge=LetterJudge(LETTERS[:CHOICES], baseline=1 / CHOICES),
    all_rows=None,
    make=make,
)
