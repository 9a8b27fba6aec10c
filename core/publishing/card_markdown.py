"""The few forms of Markdown that a card is made of, and how numbers are written in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a bar inside a cell is escaped."""
    lines = (head, ["---"] * len(head), *rows)
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def listed(lines: Iterable[str]) -> str:
    """A list with a dot before each line."""
    return "\n".join(f"- {line}" for line in lines)


def picture(path: str, alternative: str) -> str:
    """A picture that stands beside the card; `alternative` tells what it shows to who cannot see it."""
    return f"![{alternative}]({path})"


def code(text: str, language: str = "sh") -> str:
    """A block of code, between more backticks than the text has in a row."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def duration(seconds: float) -> str:
    """`3 h 12 min`, `4 min 10 s` or `41 s`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def dataset_link(repository: str) -> str:
    """A link to a data set of the Hub."""
    return f"[{repository}](https://huggingface.co/datasets/{repository})"
