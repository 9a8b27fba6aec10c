"""Passages of held-out documents whose first and last words can be hidden, and words to confuse each with.

One passage a document, so passages are independent. A word is a run of at least four letters between two blanks. Those
to confuse it with are as long and begin alike (with a capital or not); they come from the same document as far as it
has three, else from the documents of other passages. Everything is drawn by a seed from text alone, so every model
with this corpus is asked the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.data.corpus.artifact import Corpus, read_documents

CANDIDATES = 4  # the true word among them
PASSAGE_CHARACTERS = (160, 320)  # from the first word to the last: 30 to 60 words
DOCUMENT_CHARACTERS = 20_000  # of each that are looked at
LOOKED_AT = 4  # documents for each passage that is wanted: not all have one
READ_DOCUMENTS = 256  # at once

_WORD = re.compile(r"(?<=\S )[^\W\d_]{4,}(?= \S)")


@dataclass(frozen=True, kw_only=True)
class HiddenWord:
    """The candidates in the order in which they are offered; the true one is number `right`."""

    candidates: tuple[str, ...]
    right: int


@dataclass(frozen=True, kw_only=True)
class Passage:
    """Text of one document, from a word to a word."""

    document: int  # its row in the held-out shard
    text: str
    first: HiddenWord
    last: HiddenWord

    @property
    def before_last(self) -> str:
        """What stands before the last word and its blank."""
        return self.text[: -len(self.last.candidates[self.last.right]) - 1]

    @property
    def after_first(self) -> str:
        """What stands after the first word, beginning with a blank."""
        return self.text[len(self.first.candidates[self.first.right]) :]


def draw_passages(corpus: Path, shard: int, count: int, seed: int) -> list[Passage]:
    """Up to `count` passages of shard number `shard`; raise `StageError` when the corpus has no such shard."""
    (found,) = Corpus.load(corpus).select(shard, shard + 1)
    draw = np.random.default_rng(seed)
    rows = draw.permutation(found.documents)[: LOOKED_AT * count].tolist()
    texts = _texts(corpus / found.file, rows)
    spans = {row: _span(texts[row], draw) for row in rows}
    chosen = [(row, span) for row, span in spans.items() if span is not None][:count]
    everyone = sorted({word for row, _ in chosen for word in _WORD.findall(texts[row])})
    passages = []
    for row, (start, end) in chosen:
        text, own = texts[row][start:end], sorted(set(_WORD.findall(texts[row])))
        first, last = text[: text.index(" ")], text[text.rindex(" ") + 1 :]
        hidden = [_hide(word, own, everyone, draw) for word in (first, last)]
        if hidden[0] is not None and hidden[1] is not None:
            passages.append(Passage(document=row, text=text, first=hidden[0], last=hidden[1]))
    return passages


def _texts(path: Path, rows: Sequence[int]) -> Mapping[int, str]:
    wanted = set(rows)
    documents = (text for batch in read_documents(path, READ_DOCUMENTS) for text in batch)
    return {row: text[:DOCUMENT_CHARACTERS] for row, text in enumerate(documents) if row in wanted}


def _span(text: str, draw: np.random.Generator) -> tuple[int, int] | None:
    """Where a passage begins and ends, drawn among those that the document has; None when it has none."""
    words = [match.span() for match in _WORD.finditer(text)]
    spans = list(_spans(words))
    return spans[int(draw.integers(len(spans)))] if spans else None


def _spans(words: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """From each word to the first one that is far enough behind it, where that one is not too far."""
    shortest, longest = PASSAGE_CHARACTERS
    last = 0
    for start, _ in words:
        while last < len(words) and words[last][1] < start + shortest:
            last += 1
        if last < len(words) and words[last][1] <= start + longest:
            yield start, words[last][1]


def _hide(word: str, own: Sequence[str], everyone: Sequence[str], draw: np.random.Generator) -> HiddenWord | None:
    """The word among others, the document's own first; None when there are too few."""
    wanted = CANDIDATES - 1
    others = _drawn(_alike(word, own), wanted, draw)
    others += _drawn([one for one in _alike(word, everyone) if one not in others], wanted - len(others), draw)
    if len(others) < wanted:
        return None
    right = int(draw.integers(CANDIDATES))
    return HiddenWord(candidates=(*others[:right], word, *others[right:]), right=right)


def _alike(word: str, words: Sequence[str]) -> list[str]:
    return [
        other
        for other in words
        if len(other) == len(word) and other[0].isupper() == word[0].isupper() and other.lower() != word.lower()
    ]


def _drawn(words: Sequence[str], count: int, draw: np.random.Generator) -> list[str]:
    return [words[index] for index in draw.permutation(len(words))[:count].tolist()]
