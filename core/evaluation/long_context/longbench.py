"""LongBench (Bai et al. 2024, arXiv 2308.14508): its six English question-answering tasks, for models that can chat.

Reads the published `data.zip` (`data/<task>.jsonl`) or unpacked `.jsonl` files: a line has `_id`, `input` (the
question), `context` and `answers`. A context that does not fit loses its middle, as the authors have it; the score is
theirs too, F1 of words against the best of the answers. The words around text and question are this project's own, so
scores compare within this family.
"""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from core.data.tokenizer import Tokenizer
from core.evaluation.long_context.needles import Frame, TooShortError
from core.stages.context import StageError

TASKS = ("narrativeqa", "qasper", "multifieldqa_en", "hotpotqa", "2wikimqa", "musique")
ARTICLES = re.compile(r"\b(a|an|the)\b")


@dataclass(frozen=True, kw_only=True)
class LongQuestion:
    """A question about a long text, and its right answers."""

    task: str
    id: str
    context: str
    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LongAnswer:
    """How it was answered: one raw line."""

    method: str
    factor: int
    task: str
    id: str
    prompt_tokens: int
    answer: str
    answers: tuple[str, ...]
    f1: float


def read_questions(files: Mapping[str, Path], count: int, seed: int) -> list[LongQuestion]:
    """Up to `count` questions of each task that is there, drawn by `seed`; raise `StageError` for other content."""
    found: list[LongQuestion] = []
    for task, lines in _tables(files):
        order = np.random.default_rng(seed).permutation(len(lines))[:count]
        try:
            found += [_question(task, json.loads(lines[line])) for line in sorted(order.tolist())]
        except (ValueError, LookupError, TypeError) as error:
            raise StageError(f"a line of {task} is none of LongBench: {type(error).__name__}: {error}") from error
    if not found:
        raise StageError(f"{', '.join(files)}: there is none of {', '.join(TASKS)}; name LongBench's data.zip")
    return found


def question_prompt(question: LongQuestion, tokenizer: Tokenizer, frame: Frame, most: int) -> list[int]:
    """At most `most` tokens, the middle of the context left out where it must be. Raises `TooShortError`."""
    asked = tokenizer.encode(f"\n\nAnswer in a few words: {question.question}")
    context = tokenizer.encode(question.context)
    room = most - len(frame.before) - len(asked) - len(frame.after)
    if room < 2:
        raise TooShortError(f"{most:,} tokens leave no text beside the question")
    if len(context) > room:
        half = room // 2
        context = [*context[:half], *context[len(context) - half :]]
    return [*frame.before, *context, *asked, *frame.after]


def f1(answer: str, answers: Sequence[str]) -> float:
    """Harmonic mean of precision and recall of words, the best over `answers` (Rajpurkar et al. 2016)."""
    return max((_f1(_words(answer), _words(right)) for right in answers), default=0.0)


def _f1(said: Sequence[str], right: Sequence[str]) -> float:
    common = sum((Counter(said) & Counter(right)).values())
    return 2 * common / (len(said) + len(right)) if common else 0.0


def _words(text: str) -> list[str]:
    plain = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return ARTICLES.sub(" ", plain).split()


def _question(task: str, line: Mapping[str, Any]) -> LongQuestion:
    return LongQuestion(
        task=task, id=line["_id"], context=line["context"], question=line["input"], answers=tuple(line["answers"])
    )


def _tables(files: Mapping[str, Path]) -> Iterator[tuple[str, list[str]]]:
    """The lines of each task, wherever they are."""
    for path in files.values():
        if path.suffix == ".jsonl" and path.stem in TASKS:
            yield path.stem, path.read_text("utf-8").splitlines()
        elif path.suffix == ".zip":
            yield from _zipped(path)


def _zipped(path: Path) -> Iterator[tuple[str, list[str]]]:
    try:
        with ZipFile(path) as archive:
            members = {PurePosixPath(name).stem: name for name in archive.namelist() if name.endswith(".jsonl")}
            for task in (task for task in TASKS if task in members):
                yield task, archive.read(members[task]).decode("utf-8").splitlines()
    except (BadZipFile, UnicodeDecodeError) as error:
        raise StageError(f"{path} is no readable archive: {error}") from error
