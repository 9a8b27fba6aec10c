"""The validation conversations of a mixture as text: `validation.jsonl`, one object a line.

Evaluation asks these questions itself, so it needs neither the corpus nor the data sets they came from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from core.posttraining.conversation import Conversation, ConversationError, conversation_json, parse_conversation
from core.stages.context import StageError

FILE = "validation.jsonl"


@dataclass(frozen=True)
class HeldOut:
    """One validation conversation and the task that it belongs to."""

    task: str
    unique_answer: bool  # the question decides the answer to the letter
    conversation: Conversation


def write_held_out(folder: Path, examples: Iterable[HeldOut]) -> None:
    """Write all of them, in order."""
    with (folder / FILE).open("w", encoding="utf-8", newline="\n") as file:
        for example in examples:
            head = {"task": example.task, "unique_answer": example.unique_answer}
            file.write(json.dumps({**head, **conversation_json(example.conversation)}, ensure_ascii=False) + "\n")


def read_held_out(folder: Path) -> list[HeldOut]:
    """Read what `write_held_out` wrote; raise `StageError` naming the line that is damaged."""
    path = folder / FILE
    if not path.is_file():
        raise StageError(f"{folder} holds no mixture: {FILE} is missing")
    examples = []
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            try:
                fields = json.loads(line)
                conversation = parse_conversation(fields)
                examples.append(HeldOut(fields["task"], fields["unique_answer"], conversation))
            except (ConversationError, ValueError, KeyError) as error:
                raise StageError(f"{path}: line {number} is damaged: {error}; make the mixture again") from error
    return examples
