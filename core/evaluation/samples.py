"""What a model writes, for people: prompts and answers as a Markdown page that no text can break out of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.data.direction import Way


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One answer of a model; special tokens are shown by their names."""

    title: str
    prompt: str
    answer: str
    reference: str | None = None  # what was wanted, where that is known
    way: Way = "forward"  # backward: the answer stands before the prompt


def samples_page(title: str, how: str, samples: Sequence[Sample]) -> str:
    """The page: a heading, how the answers were drawn, and a section a sample."""
    sections = [f"# {title}\n\n{how}\n"]
    for number, sample in enumerate(samples, start=1):
        blocks = [("prompt", sample.prompt), ("answer", sample.answer)]
        if sample.reference is not None:
            blocks.append(("wanted", sample.reference))
        body = "\n\n".join(f"{label}:\n\n{fenced(text)}" for label, text in blocks)
        sections.append(f"## {number}. {sample.title}\n\n{body}\n")
    return "\n".join(sections)


def fenced(text: str) -> str:
    """`text` as a code block whose fence is longer than any run of backticks in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"
