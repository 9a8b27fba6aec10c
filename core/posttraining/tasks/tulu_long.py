"""Long conversations: allenai/tulu-v2-sft-long-mixture, the part of it that is well-formed.

Usable is an optional leading system message, then user and assistant strictly by turns, all of them strings. The
usable rows are shuffled; the last 1,500 validate, training takes from the first.
"""

from __future__ import annotations

from core.posttraining.conversation import ConversationError, parse_conversation
from core.posttraining.tasks.hub import HubSplit, Row, shuffled, take
from core.posttraining.tasks.task import Examples, Material, Split

HELD_OUT = 1500


def is_usable(row: Row) -> bool:
    """Whether a row is a conversation of plain strings."""
    try:
        conversation = parse_conversation(row)
    except ConversationError:
        return False
    return all(len(message.parts) == 1 for message in conversation.messages)


class TuluLong:
    """The task; it cuts its own validation split, since the data set has none."""

    name = "tulu-long"
    unique_answer = False
    judge = None
    source = HubSplit(
        repository="allenai/tulu-v2-sft-long-mixture",
        config=None,
        split="train",
        revision="main",
    )

    def open(self, split: Split, rows: int | None, material: Material) -> Examples:
        """Every row is read once, to find the usable ones; the others are counted as skipped."""
        table = self.source.load()
        usable = shuffled([index for index in range(len(table)) if is_usable(table[index])])
        order = usable[:-HELD_OUT] if split == "training" else usable[-HELD_OUT:]
        origin = f"{self.source}, {'all but the last' if split == 'training' else 'the last'} {HELD_OUT:,} usable rows"
        return take(table, order, rows, parse_conversation, origin=origin, skipped=len(table) - len(usable))


TASK = TuluLong()
