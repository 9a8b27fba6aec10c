"""How far out of a bootstrap distribution an interval reaches when there are few clusters.

A percentile interval of few observations is too narrow: its spread lacks the factor sqrt(n / (n - 1)), and it has the
normal's quantile where Student's t belongs. The expanded percentile interval (Hesterberg: What Teachers Should Know
About the Bootstrap, The American Statistician 69, 2015, section 4.3) reads the distribution further out, at the level

    Phi(-sqrt(n / (n - 1)) t(0.975, n - 1))

which is 0.025 for many observations. With s strata, n - s takes the place of n - 1.
"""

from __future__ import annotations

from math import atan, cos, inf, pi, sin, sqrt
from statistics import NormalDist

CONFIDENCE = 0.95
MANY = 1000  # degrees of freedom from which on Student's t is the normal distribution to three digits


def tail_level(clusters: int, strata: int = 1) -> float:
    """The share of the distribution left out at either end; there must be more clusters than strata."""
    freedom = clusters - strata
    if freedom < 1:
        raise ValueError(f"{clusters} clusters in {strata} strata have no spread to measure")
    return NormalDist().cdf(-sqrt(clusters / freedom) * student_quantile(freedom))


def student_quantile(freedom: int, confidence: float = CONFIDENCE) -> float:
    """t with P(|T| < t) = confidence, by bisection of the exact distribution; the normal's for many degrees."""
    if freedom >= MANY:
        return NormalDist().inv_cdf((1 + confidence) / 2)
    low, high = 0.0, 1.0
    while student_within(high, freedom) < confidence:
        low, high = high, 2 * high
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if student_within(middle, freedom) < confidence else (low, middle)
    return high


def student_within(bound: float, freedom: int) -> float:
    """P(|T| < bound), the finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    if bound == inf:
        return 1.0
    angle = atan(bound / sqrt(freedom))
    step, term, total = cos(angle) ** 2, 1.0, 0.0
    first = 2 if freedom % 2 else 1
    for index in range(first, freedom, 2):
        total += term
        term *= step * index / (index + 1)
    if freedom % 2 == 0:
        return sin(angle) * total
    return 2 / pi * (angle + sin(angle) * cos(angle) * total)
