"""Intervals by drawing again: how much a ratio of sums would move had other units been drawn.

The unit is what was drawn at random (a text, a row), never a token: tokens of one text are not independent.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000


def ratio_interval(
    numerators: npt.NDArray[np.float64], denominators: npt.NDArray[np.float64], seed: int
) -> tuple[float, float] | None:
    """95 % percentile interval of sum(numerators) / sum(denominators) over units [n]; None for fewer than two.

    Units are drawn with replacement, numerator and denominator together (Efron: Bootstrap methods, Annals of
    Statistics 7, 1979). Draws depend on `seed` and n alone, so measurements of the same units move together.
    """
    count = len(numerators)
    if count < 2:
        return None
    drawn = np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))
    totals = denominators[drawn].sum(axis=1)
    ratios = numerators[drawn].sum(axis=1)[totals > 0] / totals[totals > 0]
    low, high = np.percentile(ratios, (2.5, 97.5)).tolist()
    return low, high
