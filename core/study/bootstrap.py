"""Paired bootstrap of a difference between two readings of the same things.

A reading is, for each cluster (a document, a row, a trial, a question), a numerator and a denominator: bits and bytes,
or 1 and 1 for a right answer. Its value is a weighted sum over strata (tasks, kinds) of ratios of sums:

    value = sum over strata of w (sum of numerators / sum of denominators)

Both sides of a difference are resampled together: a bootstrap sample draws, within each stratum, as many clusters as
there are, with replacement, and takes them on both sides. The draws follow from the seed and the names of the clusters
alone, so that whatever was measured on the same clusters is resampled alike: differences of many models may be averaged
sample by sample. The interval is the 95 % percentile interval (Efron 1979), expanded for few clusters (`small_sample`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from core.study.small_sample import tail_level

Floats = npt.NDArray[np.float64]
MOST_DRAWN = 300_000_000  # counts that are kept, a byte each, before the oldest give way
AT_ONCE = 250  # bootstrap samples whose draws are made together: 20 MB for 10,000 clusters


@dataclass(frozen=True, order=True)
class Cluster:
    """What is drawn as a whole, by its stratum and its name in it."""

    stratum: str
    name: str


@dataclass(frozen=True)
class Amount:
    """What one reading found in one cluster."""

    numerator: float
    denominator: float


Reading = Mapping[Cluster, Amount]


@dataclass(frozen=True)
class Replicates:
    """A difference in every bootstrap sample [R]."""

    values: Floats
    clusters: int
    strata: int

    def interval(self) -> tuple[float, float] | None:
        """95 %; None where one stratum has but one cluster each, so that nothing varies."""
        if self.clusters <= self.strata:
            return None
        ordered = np.sort(self.values)
        out = max(0, round(tail_level(self.clusters, self.strata) * len(ordered)) - 1)
        return float(ordered[out]), float(ordered[len(ordered) - 1 - out])


def mean_of(parts: Sequence[Replicates]) -> Replicates:
    """The mean of several differences, sample by sample; it rests on no more clusters than the one with the fewest."""
    fewest = min(parts, key=lambda part: part.clusters - part.strata)
    return Replicates(np.mean([part.values for part in parts], axis=0), fewest.clusters, fewest.strata)


@dataclass(frozen=True)
class Difference:
    """Of two readings on the clusters that both have."""

    treatment: float
    baseline: float
    replicates: Replicates

    @property
    def value(self) -> float:
        """How much more the treatment has."""
        return self.treatment - self.baseline


@dataclass(frozen=True)
class Bootstrap:
    """Draws samples; what was drawn is kept for a while, since many differences share their clusters."""

    seed: int
    resamples: int
    _drawn: dict[str, npt.NDArray[np.uint8]] = field(default_factory=dict, compare=False)

    def difference(self, treatment: Reading, baseline: Reading, weights: Mapping[str, float]) -> Difference | None:
        """Treatment less baseline; None when they have no cluster in common in which both counted something.

        `weights` are those of the strata; clusters of others do not count.
        """
        common = (one for one in treatment.keys() & baseline.keys() if one.stratum in weights)
        clusters = sorted(one for one in common if _counts(treatment[one], baseline[one]))
        if not clusters:
            return None
        sides = [
            np.array([(side[one].numerator, side[one].denominator) for one in clusters])
            for side in (treatment, baseline)
        ]
        observed, resampled, strata = np.zeros(2), np.zeros((self.resamples, 2)), [*_strata(clusters)]
        for stratum, rows in strata:
            counts = self._drawn_counts(clusters[rows])
            for side, columns in enumerate(sides):
                observed[side] += weights[stratum] * _ratios(columns[rows].sum(axis=0, keepdims=True))[0]
                resampled[:, side] += weights[stratum] * _ratios(_sums(counts, columns[rows]))
        values = resampled[:, 0] - resampled[:, 1]
        return Difference(float(observed[0]), float(observed[1]), Replicates(values, len(clusters), len(strata)))

    def _drawn_counts(self, clusters: Sequence[Cluster]) -> npt.NDArray[np.uint8]:
        """How often each cluster is drawn in each sample [R, n]; every row sums to n. None is drawn 256 times."""
        names = sha256("\0".join(f"{one.stratum}\0{one.name}" for one in clusters).encode()).digest()
        key = names.hex()
        if key not in self._drawn:
            while self._drawn and sum(each.size for each in self._drawn.values()) > MOST_DRAWN:
                del self._drawn[next(iter(self._drawn))]
            random = np.random.default_rng([self.seed, *names[:8]])
            self._drawn[key] = np.concatenate([*_draws(random, len(clusters), self.resamples)])
        return self._drawn[key]


def _draws(random: np.random.Generator, count: int, resamples: int) -> Iterator[npt.NDArray[np.uint8]]:
    for start in range(0, resamples, AT_ONCE):
        samples = min(AT_ONCE, resamples - start)
        drawn = random.integers(0, count, (samples, count)) + count * np.arange(samples)[:, None]
        yield np.bincount(drawn.ravel(), minlength=samples * count).reshape(samples, count).astype(np.uint8)


def _strata(clusters: Sequence[Cluster]) -> Iterator[tuple[str, slice]]:
    """Runs of one stratum in sorted clusters."""
    start = 0
    for index, one in enumerate(clusters):
        if index + 1 == len(clusters) or clusters[index + 1].stratum != one.stratum:
            yield one.stratum, slice(start, index + 1)
            start = index + 1


def _counts(treatment: Amount, baseline: Amount) -> bool:
    return treatment.denominator > 0 and baseline.denominator > 0


def _sums(counts: npt.NDArray[np.uint8], columns: Floats) -> Floats:
    """Sums of the columns [n, 2] over each bootstrap sample [R, n]: [R, 2]."""
    samples = len(counts)
    parts = [counts[start : start + AT_ONCE].astype(np.float64) @ columns for start in range(0, samples, AT_ONCE)]
    sums: Floats = np.concatenate(parts)
    return sums


def _ratios(sums: Floats) -> Floats:
    """[m, 2] to [m]."""
    ratios: Floats = sums[:, 0] / sums[:, 1]
    return ratios
