"""The words that spelling tasks ask for: taken from the corpus itself, so that they need no download.

A word is 3 to 16 lowercase ASCII letters between word boundaries, not beside an apostrophe, seen at least twice in
the training shards. Order is by falling frequency, then by the alphabet. Every tenth word is held out: validation
asks only for words that no training row spells. A large corpus is read until its text has been enough.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.data.corpus.artifact import Corpus, read_documents
from core.stages.context import StageError

WORD = re.compile(r"(?<!['’])\b[a-z]{3,16}\b(?!['’])")
LEAST_COUNT = 2
HELD_OUT_EVERY = 10
BATCH_DOCUMENTS = 128
ENOUGH_CHARACTERS = 200_000_000  # of text: the words that come after it are rare, and reading takes minutes a gigabyte


@dataclass(frozen=True)
class Words:
    """Disjoint words for both splits, each by falling frequency."""

    training: tuple[str, ...]
    validation: tuple[str, ...]


def collect_words(folder: Path) -> Words:
    """Words of the training shards of the corpus artifact in `folder`; raise `StageError` when there are too few."""
    corpus = Corpus.load(folder)
    counts: Counter[str] = Counter()
    for texts in _enough_text(folder, corpus):
        count_words(texts, counts)
    words = split_words(counts)
    if not words.validation:
        raise StageError(
            f"the training shards of {corpus.source} hold {len(words.training)} words seen {LEAST_COUNT} times, "
            f"the spelling tasks need at least {HELD_OUT_EVERY}; collect more text"
        )
    return words


def _enough_text(folder: Path, corpus: Corpus) -> Iterator[list[str]]:
    """Documents of the training shards, batch by batch, until `ENOUGH_CHARACTERS` have been read."""
    characters = 0
    for shard in corpus.training_shards:
        for texts in read_documents(folder / shard.file, BATCH_DOCUMENTS):
            if characters >= ENOUGH_CHARACTERS:
                return
            characters += sum(map(len, texts))
            yield texts


def count_words(texts: Iterable[str], counts: Counter[str]) -> None:
    """Add the words of `texts` to `counts`."""
    for text in texts:
        counts.update(WORD.findall(text))


def split_words(counts: Counter[str]) -> Words:
    """Frequent words by rank; ranks 9, 19, 29 ... (from 0) are held out."""
    frequent = [(-count, word) for word, count in counts.items() if count >= LEAST_COUNT]
    ranked = [word for _, word in sorted(frequent)]
    held_out = ranked[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
    training = [word for rank, word in enumerate(ranked) if (rank + 1) % HELD_OUT_EVERY]
    return Words(tuple(training), tuple(held_out))
