"""Text in which needles are hidden: held-out documents one after another, or one sentence over and over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import numpy.typing as npt

from core.data.best_fit import Tokens
from core.data.tokenizer import Tokenizer

BETWEEN = "\n\n"  # of two documents
FILLER = "The river is wide and the road is long. We walk on until the evening, and then we go home. "


@dataclass(frozen=True)
class Haystack:
    """A ring of tokens, and where a passage may begin; a passage longer than the ring repeats it."""

    tokens: npt.NDArray[np.int64]
    starts: tuple[int, ...]

    @classmethod
    def of_documents(cls, documents: Sequence[Tokens], tokenizer: Tokenizer) -> Haystack:
        """Documents in their order; a passage begins with one of them. There must be one."""
        between = np.array(tokenizer.encode(BETWEEN), np.int64)
        parts = [np.concatenate((document.astype(np.int64), between)) for document in documents]
        ends = np.cumsum([len(part) for part in parts])
        return cls(np.concatenate(parts), (0, *ends[:-1].tolist()))

    @classmethod
    def of_filler(cls, tokenizer: Tokenizer) -> Haystack:
        """The same two sentences again and again."""
        return cls(np.array(tokenizer.encode(FILLER), np.int64), (0,))

    def passage(self, random: Random, count: int) -> npt.NDArray[np.int64]:
        """`count` tokens from a random start on."""
        start = random.choice(self.starts)
        return self.tokens[(start + np.arange(count)) % len(self.tokens)]
