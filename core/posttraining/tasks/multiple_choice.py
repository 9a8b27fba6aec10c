"""One wording for every multiple-choice question.

The letter stands after its choice: a small model then binds the two more easily than the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.posttraining.conversation import ConversationError, assistant, user
from core.posttraining.tasks.task import Exercise

LETTERS = ("A", "B", "C", "D", "E")


def multiple_choice(question: str, choices: Sequence[str], answer: str, letters: Sequence[str] = LETTERS) -> Exercise:
    """The question with its choices, answered by the letter `answer`; raise `ConversationError` for another answer."""
    offered = tuple(letters[: len(choices)])
    if answer not in offered or len(offered) != len(choices):
        raise ConversationError(f"{answer!r} answers none of {len(choices)} choices called {', '.join(offered)}")
    lines = "".join(f"- {choice}={letter}\n" for letter, choice in zip(offered, choices, strict=True))
    prompt = f"Multiple choice: {question}\n{lines}\nAnswer with the letter of the right choice only."
    return Exercise((user(prompt), assistant(answer)), letters=offered)
