"""Text that never changes: English-like sentences drawn by integer arithmetic, and a small standard library of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

SUBJECTS = [
    "the reader",
    "a writer",
    "every stage",
    "no server",
    "the old tokenizer",
    "one row",
    "our model",
    "the naïve café owner",
]
VERBS = ["reads", "packs", "keeps", "counts", "returns", "forgets", "follows", "measures", "closes", "repeats"]
OBJECTS = [
    "a list of words",
    "the last document",
    "3 or 4 files",
    "every second letter",
    "its own name",
    "12345 tokens",
    "the value of `x`",
    "an empty row",
    "the same paragraph",
    "two long sentences",
]
ENDINGS = [
    "before the end",
    "without an error",
    "in the morning",
    "when nobody looks",
    "as it was asked to",
    "at 10:45",
    "after all of them",
]

MODULE = '''"""{module}

{paragraph}
"""


def first(values: list[int], *, key: str = "a", **others: object) -> dict[str, int]:
    """{function}"""


async def second(value=None):
    """Too short."""


class Third(dict, metaclass=type):
    """{long}

    {paragraph}
    """

    def method(self, other: "Third" = None) -> bool:
        """{method}"""

    def undocumented(self): ...
'''


def numbers(seed: int) -> Iterator[int]:
    """31-bit numbers of a linear congruential generator (constants of Knuth's MMIX)."""
    state = seed
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        yield state >> 33


def sentence(draw: Iterator[int]) -> str:
    """Subject, verb, object, ending."""
    words = [choices[next(draw) % len(choices)] for choices in (SUBJECTS, VERBS, OBJECTS, ENDINGS)]
    text = " ".join(words)
    return text[0].upper() + text[1:] + ".!?."[next(draw) % 4]


def paragraph(draw: Iterator[int], sentences: int) -> str:
    """Sentences on one line."""
    return " ".join(sentence(draw) for _ in range(sentences))


def documents(seed: int) -> Iterator[str]:
    """Endless documents of one to four paragraphs; every fifth one is a few lines of code, every ninth is empty."""
    draw, number = numbers(seed), 0
    while True:
        number += 1
        if number % 9 == 0:
            yield ""
        elif number % 5 == 0:
            yield f"def f{number}(x):\n    return x ** {next(draw) % 100}  # {sentence(draw)}\n"
        else:
            yield "\n\n".join(paragraph(draw, 1 + next(draw) % 5) for _ in range(1 + next(draw) % 4))


def some_documents(count: int, seed: int) -> list[str]:
    """The first of them."""
    return list(islice(documents(seed), count))


def write_standard_library(folder: Path) -> None:
    """Topics and modules with docstrings of every shape; one paragraph stands in all modules."""
    draw = numbers(7)
    topics = {f"topic-{number}": "\n\n".join(paragraph(draw, 6) for _ in range(4)) for number in range(9)}
    topics["contains-another"] = topics["topic-0"] + "\n\n" + paragraph(draw, 5)
    repeated = paragraph(draw, 3)
    for path in ("heapq.py", "json/__init__.py", "json/decoder.py", "shelve.py"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        texts = {name: paragraph(draw, 4) for name in ("module", "function", "method")}
        long = "\n\n    ".join(paragraph(draw, 7) for _ in range(5))
        (folder / path).write_text(MODULE.format(paragraph=repeated, long=long, **texts), encoding="utf-8")
    (folder / "pydoc_data").mkdir()
    (folder / "pydoc_data" / "topics.py").write_text(f"topics = {topics!r}\n", encoding="utf-8")
