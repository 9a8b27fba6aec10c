"""NoLiMa (Modarressi et al. 2025, arXiv 2502.05167): needles whose questions share no words with them.

Reads the published files: `needlesets/*.json`, a list of entries with `needle` ("... {CHAR} ... {1} ..."),
`character_set`, `questions` (such as onehop and twohop) and `tests` with their `input_args`; and `haystack/**.txt`, the
books. They become trials like this project's own: which of the entry's characters is meant is decided by likelihood,
and by writing where the model can chat. Questions are the published ones; what stands around them is not, so rates
compare within this family. {1} is the first input argument.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from core.data.tokenizer import Tokenizer
from core.evaluation.long_context.haystack import Haystack
from core.evaluation.long_context.needles import NeedleTrials, Puzzle, Query, Trial
from core.stages.context import StageError

LEAD = "The answer is"


@dataclass(frozen=True, kw_only=True)
class Riddle:
    """One question about one needle."""

    kind: str  # nolima-onehop, nolima-twohop
    needle: str  # with {CHAR}
    question: str
    characters: tuple[str, ...]


def read_riddles(files: Mapping[str, Path]) -> list[Riddle]:
    """All combinations of entry, test and question, in the order of the files; raise `StageError` for other content."""
    riddles: list[Riddle] = []
    for path in (files[name] for name in sorted(files) if name.endswith(".json")):
        try:
            riddles += [riddle for entry in json.loads(path.read_text("utf-8")) for riddle in _riddles(entry)]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise StageError(f"{path} is no needle set of NoLiMa: {type(error).__name__}: {error}") from error
    if not riddles:
        raise StageError(
            f"none of {', '.join(sorted(files))} is a needle set of NoLiMa; name needlesets/needle_set.json"
        )
    return riddles


def read_books(files: Mapping[str, Path], tokenizer: Tokenizer) -> Haystack:
    """The books as one haystack; raise `StageError` when there is none."""
    books = [files[name].read_text("utf-8") for name in sorted(files) if name.endswith(".txt")]
    if not any(books):
        raise StageError("the recipe names no haystack of NoLiMa; add haystack/rand_shuffle/rand_book_1.txt")
    return Haystack.of_documents([tokenizer.encode_array(book) for book in books], tokenizer)


def nolima_trial(maker: NeedleTrials, riddles: Sequence[Riddle], books: Haystack, length: int, number: int) -> Trial:
    """Trial `number` of riddles of one kind, which take turns; raises `TooShortError` when it does not fit."""
    riddle = riddles[number % len(riddles)]
    random = Random(f"{maker.seed} {riddle.kind} {length} {number}")
    character = random.choice(riddle.characters)
    lead = LEAD if maker.frame.asks else f"Question: {riddle.question}\nAnswer:"
    puzzle = Puzzle(
        needles=(riddle.needle.replace("{CHAR}", character),),
        question=riddle.question,
        queries=(Query(lead=lead, wanted=(character,), candidates=riddle.characters),),
    )
    return maker.hide(riddle.kind, puzzle, books.passage(random, length), length, number, random)


def _riddles(entry: Mapping[str, Any]) -> list[Riddle]:
    return [
        Riddle(
            kind=f"nolima-{hops}",
            needle=_filled(entry["needle"], test["input_args"]),
            question=_filled(question, test["input_args"]),
            characters=tuple(entry["character_set"]),
        )
        for hops, question in entry["questions"].items()
        for test in entry["tests"].values()
    ]


def _filled(template: str, arguments: Sequence[str]) -> str:
    for place, argument in enumerate(arguments, start=1):
        template = template.replace(f"{{{place}}}", argument)
    return template
