"""Held-out documents long enough to measure on: which are taken is decided by a seed, and recorded.

Documents are put into one random order. Every fifth is kept for fitting (`fitting`), the others are measured on
(`measuring`), so nothing is fitted on what it is then measured on. A text of L + 1 tokens is the beginning of a
document that long; only where there are too few of those, the longest of the rest are read one after another, each
opened as in training, until they fill a text. Tokens of the whole shard are held in memory: 4 bytes each, 136 MB of
34 million.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from core.data.best_fit import Tokens
from core.data.corpus.artifact import Corpus, read_documents
from core.data.direction import Reading
from core.data.tokenizer import Tokenizer

Use = Literal["measuring", "fitting"]

READ_DOCUMENTS = 256  # at once
FITTING_SHARE = 5  # one document in so many


@dataclass(frozen=True)
class LongText:
    """L + 1 tokens, and the rows of the shard's documents that they come from."""

    tokens: npt.NDArray[np.int64]
    documents: tuple[int, ...]

    @property
    def is_whole(self) -> bool:
        """Whether it is one document, from its beginning."""
        return len(self.documents) == 1

    def listing(self) -> Mapping[str, object]:
        """What is recorded of it."""
        return {"documents": list(self.documents), "concatenated": not self.is_whole}


@dataclass(frozen=True)
class HeldOutDocuments:
    """The documents of one shard as tokens [n], and the random order in which they are taken."""

    tokens: Sequence[Tokens]
    order: Sequence[int]

    @classmethod
    def read(cls, corpus: Path, shard: int, tokenizer: Tokenizer, seed: int) -> HeldOutDocuments:
        """Tokenise shard number `shard`; raise `StageError` when the corpus has no such shard."""
        (found,) = Corpus.load(corpus).select(shard, shard + 1)
        batches = read_documents(corpus / found.file, READ_DOCUMENTS)
        tokens = [one for batch in batches for one in tokenizer.encode_arrays(batch)]
        return cls(tokens, np.random.default_rng(seed).permutation(len(tokens)).tolist())

    def of(self, use: Use) -> list[int]:
        """Rows of the documents for one use, in order; empty documents are for none."""
        wanted = use == "fitting"
        return [
            row
            for place, row in enumerate(self.order)
            if len(self.tokens[row]) and (place % FITTING_SHARE == FITTING_SHARE - 1) == wanted
        ]

    def texts(self, use: Use, reading: Reading, length: int, count: int) -> list[LongText]:
        """Up to `count` texts of `length` + 1 tokens, whole documents first; fewer where the documents end."""
        rows = self.of(use)
        enough = length + 1 - len(reading.opening)
        whole = [row for row in rows if len(self.tokens[row]) >= enough][:count]
        texts = [LongText(_sequence(self, reading, row)[: length + 1], (row,)) for row in whole]
        taken = set(whole)
        rest = sorted((row for row in rows if row not in taken), key=lambda row: -len(self.tokens[row]))
        return [*texts, *_joined(self, reading, rest, length, count - len(texts))]


def _joined(
    documents: HeldOutDocuments, reading: Reading, rows: Sequence[int], length: int, count: int
) -> list[LongText]:
    """Texts that are filled by one document after another, each of which stands in one text only."""
    texts: list[LongText] = []
    used: list[int] = []
    parts: list[npt.NDArray[np.int64]] = []
    for row in rows:
        if len(texts) == count:
            break
        used.append(row)
        parts.append(_sequence(documents, reading, row))
        if sum(map(len, parts)) > length:
            texts.append(LongText(np.concatenate(parts)[: length + 1], tuple(used)))
            used, parts = [], []
    return texts


def _sequence(documents: HeldOutDocuments, reading: Reading, row: int) -> npt.NDArray[np.int64]:
    return reading.sequence(documents.tokens[row]).astype(np.int64)
