"""A number and what it rests on: no value of an evaluation is written without the size of its sample."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

Z_95 = 1.959963984540054  # the 97.5th percentile of the standard normal distribution


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """`value` in `unit`, from `sample_size` times `sample_unit`; `interval` is a 95 % confidence interval or None."""

    value: float
    unit: str
    sample_size: int
    sample_unit: str
    interval: tuple[float, float] | None = None


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % score interval of a proportion (Wilson 1927): sensible at 0 of n and n of n, unlike the normal one.

    centre = (p + z^2 / 2n) / (1 + z^2 / n),  half width = z sqrt(p (1 - p) / n + z^2 / 4n^2) / (1 + z^2 / n)
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} of {trials} is no proportion")
    share, spread = successes / trials, Z_95**2 / trials
    centre = (share + spread / 2) / (1 + spread)
    half_width = sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    return max(0.0, centre - half_width), min(1.0, centre + half_width)
