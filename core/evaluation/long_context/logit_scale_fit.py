"""Fitting c of beta = 1 + c ln(m / T) to one model: the c with the fewest bits per byte beyond the trained length.

A coarse grid first, since nothing says that there is one minimum only, then a golden-section search between the
neighbours of its best point. c = 0 is on the grid: what comes out is never worse than a plain model on the texts that
it was fitted on, which are none of those that are measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf, sqrt

import numpy as np
import numpy.typing as npt

from core.evaluation.long_context.methods import Method
from core.evaluation.long_context.positions import bits_per_byte, measure_texts
from core.model.position_scaling import LogitScale
from core.model.transformer import Transformer

GRID = (-0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)
SECTIONS = 5  # of the golden-section search: what is left is .5 x .618^5 = .045 wide
GOLDEN = (sqrt(5) - 1) / 2


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One coefficient and what it gives."""

    coefficient: float
    bits_per_byte: float


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The best coefficient, and everything that was tried."""

    scale: LogitScale
    tried: tuple[Tried, ...]
    texts: int
    bytes: int  # beyond the trained length

    def listing(self) -> Mapping[str, object]:
        """What is recorded of it, enough to use it elsewhere."""
        return {
            "formula": "beta(m) = 1 + c ln(max(1, m / T)) multiplies the attention logits of the query at position m",
            "c": self.scale.coefficient,
            "T": self.scale.trained_length,
            "searched_from": GRID[0],
            "searched_to": GRID[-1],
            "fitted_on_texts": self.texts,
            "fitted_on_bytes": self.bytes,
            "tried": [asdict(one) for one in self.tried],
        }


class LogitScaleFit:
    """The search on texts [n, L+1], L above the trained length."""

    def __init__(
        self, model: Transformer, texts: npt.NDArray[np.int64], token_bytes: np.ndarray, trained_length: int
    ) -> None:
        self._model, self._texts, self._token_bytes = model, texts, token_bytes
        self._trained_length = trained_length
        self._tried: dict[float, float] = {}
        self._bytes = 0

    def search(self) -> Fit:
        """Try the grid, then narrow it down."""
        best = min(GRID, key=self._bits)
        low, high = _neighbours(best)
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        for _ in range(SECTIONS):
            if self._bits(left) <= self._bits(right):
                high, right = right, left
                left = high - GOLDEN * (high - low)
            else:
                low, left = left, right
                right = low + GOLDEN * (high - low)
        coefficient = min(self._tried, key=self._tried.__getitem__)
        return Fit(
            scale=self._scale(coefficient),
            tried=tuple(Tried(coefficient=c, bits_per_byte=bits) for c, bits in sorted(self._tried.items())),
            texts=len(self._texts),
            bytes=self._bytes,
        )

    def _scale(self, coefficient: float) -> LogitScale:
        return LogitScale(coefficient=coefficient, trained_length=self._trained_length)

    def _bits(self, coefficient: float) -> float:
        if coefficient not in self._tried:
            with Method("logit-scale", self._scale(coefficient)).applied(self._model):
                records = measure_texts(
                    self._model, self._texts, self._token_bytes, self._trained_length, "logit-scale"
                )
            beyond = bits_per_byte([one for one in records if one.first >= self._trained_length], seed=0)
            self._tried[coefficient] = inf if beyond is None else beyond.value
            self._bytes = 0 if beyond is None else beyond.sample_size
        return self._tried[coefficient]


def _neighbours(best: float) -> tuple[float, float]:
    place = GRID.index(best)
    return GRID[max(0, place - 1)], GRID[min(len(GRID) - 1, place + 1)]
