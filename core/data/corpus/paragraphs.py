"""What is done to text paragraph by paragraph: long ones are kept once in a whole corpus, long documents are cut.

Paragraphs are what blank lines separate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from textwrap import dedent

LONG = 50  # characters: shorter paragraphs (headings, one-line examples) may repeat
BLANK_LINES = re.compile(r"\n\s*\n")


class Unseen:
    """Remembers every long paragraph that it let through, so that none stands on both sides of a split.

    What is kept depends on the order of the calls.
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def keep(self, text: str) -> str:
        """`text` without the long paragraphs seen before; empty when less than half of it is left."""
        paragraphs = BLANK_LINES.split(text)
        fresh, keys = [], set()
        for paragraph in paragraphs:
            key = " ".join(paragraph.lower().split())
            if len(key) >= LONG and (key in self._seen or key in keys):
                continue
            keys.add(key)
            fresh.append(paragraph)
        if 2 * sum(map(len, fresh)) < sum(map(len, paragraphs)):
            return ""
        self._seen.update(key for key in keys if len(key) >= LONG)
        return "\n\n".join(fresh)


def passages(text: str, longest: int) -> Iterator[str]:
    """`text` cut at blank lines into passages of at most `longest` characters; a longer paragraph stays whole.

    Each passage loses the indentation that all its lines share.
    """
    passage = ""
    for paragraph in BLANK_LINES.split(text):
        joined = f"{passage}\n\n{paragraph}" if passage else paragraph
        if passage and len(joined) > longest:
            yield dedent(passage)
            joined = paragraph
        passage = joined
    if passage:
        yield dedent(passage)
