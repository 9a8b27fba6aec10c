"""Which models are compared, in what, and what came of it: the questions that the family was built to ask.

Every contrast is of two models, or of two ways to read with one, that differ in one respect, on the same clusters. One
that cannot be made is listed with the reason, never as a zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from core.study.bootstrap import Bootstrap, Difference, Reading, Replicates, mean_of
from core.study.evaluated import PLAIN, VALIDATION, EvaluatedModel
from core.study.pairs import Family, MissingContrast, Pair, Side, pairs_of
from core.study.quantity import CHAT, CORE, HELD_OUT, HIDDEN_WORDS, LONG_TEXT, NEEDLES, QUANTITIES, Quantity

Verdict = Literal["better", "worse", "no difference detected", "too few to tell"]
FEWEST = 6  # clusters below which even all of one sign happen by chance in more than 5 % of cases: 2 / 2^n


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """What came of one pair in one quantity: treatment less baseline, with its 95 % interval."""

    family: Family
    treatment: str
    baseline: str
    phase: str
    quantity: str
    unit: str
    condition: str  # a multiple of the trained length such as 4x; empty for what has no length
    treatment_value: float
    baseline_value: float
    difference: float
    interval: tuple[float, float] | None
    sample_size: int
    sample_unit: str
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The mean of several contrasts in one quantity, resampled together."""

    family: Family
    group: str
    phase: str
    quantity: str
    unit: str
    condition: str
    contrasts: int
    difference: float
    interval: tuple[float, float] | None
    sample_size: int  # of the contrast with the fewest
    sample_unit: str
    verdict: Verdict


@dataclass
class Compared:
    """Everything that was compared, in order."""

    contrasts: list[Contrast] = field(default_factory=list)
    summaries: list[Summary] = field(default_factory=list)
    missing: list[MissingContrast] = field(default_factory=list)

    @property
    def effects(self) -> list[Contrast | Summary]:
        """Contrasts and their means."""
        return [*self.contrasts, *self.summaries]


@dataclass(frozen=True)
class _Reading:
    """A quantity of both sides of a pair, where it was measured of both."""

    quantity: Quantity
    condition: str
    treatment: Reading
    baseline: Reading
    weights: Mapping[str, float]
    chance: float = 0.0  # what guessing scores by these weights


def compare(models: Sequence[EvaluatedModel], bootstrap: Bootstrap) -> Compared:
    """Every contrast of `models`, then their means by what is common to them."""
    compared = Compared()
    pooled: dict[tuple[str, ...], list[tuple[Contrast, Replicates]]] = {}
    for found in pairs_of(models):
        if isinstance(found, MissingContrast):
            compared.missing.append(found)
            continue
        for reading in _readings(found):
            difference = bootstrap.difference(reading.treatment, reading.baseline, reading.weights)
            if difference is None:
                compared.missing.append(_unpaired(found, reading))
                continue
            contrast = _contrast(found, reading, difference)
            compared.contrasts.append(contrast)
            for group in found.groups:
                key = (found.family, group, contrast.phase, contrast.quantity, contrast.condition)
                pooled.setdefault(key, []).append((contrast, difference.replicates))
    compared.summaries += _summaries(pooled)
    return compared


def verdict_on(interval: tuple[float, float] | None, clusters: int, quantity: Quantity) -> Verdict:
    """Whether the interval leaves zero out, and on which side; with few clusters, no interval can be trusted to."""
    if interval is None or clusters < FEWEST:
        return "too few to tell"
    low, high = interval
    if low <= 0 <= high:
        return "no difference detected"
    return "better" if (high < 0) == (quantity.better == "lower") else "worse"


def _readings(pair: Pair) -> Iterator[_Reading]:
    """Every quantity that was measured of both sides."""
    treatment, baseline = pair.treatment, pair.baseline
    same_phase = treatment.evaluated.model.phase == baseline.evaluated.model.phase
    if treatment.rows != VALIDATION:
        yield from _row_readings(treatment, baseline)
        return
    if same_phase and treatment.method == baseline.method == PLAIN:
        yield from _row_readings(treatment, baseline)
        yield from _question_readings(treatment.evaluated, baseline.evaluated)
    yield from _long_readings(treatment, baseline)


def _row_readings(treatment: Side, baseline: Side) -> Iterator[_Reading]:
    """Held-out rows and hidden words in every way in which both read. The usual way, forward, is not named."""
    one, other = treatment.evaluated, baseline.evaluated
    if not (one.ways and other.ways):
        yield _Reading(HELD_OUT, "", one.rows(VALIDATION, "forward"), other.rows(VALIDATION, "forward"), {"": 1.0})
    for way, others in _ways(one, other):
        condition = "" if way == others == "forward" else way if way == others else f"{way} less {others}"
        rows = (one.rows(treatment.rows, way), other.rows(baseline.rows, others))
        yield _Reading(HELD_OUT, condition, *rows, {"": 1.0})
        found = (one.cloze(way), other.cloze(others))
        if treatment.rows == VALIDATION and way == others and all(found):
            yield _Reading(HIDDEN_WORDS, condition, *found, {"": 1.0})


def _ways(one: EvaluatedModel, other: EvaluatedModel) -> list[tuple[str, str]]:
    """Every way in which both read; of models that have none in common, each its own: rows hold the same documents."""
    common = [(way, way) for way in one.ways if way in other.ways]
    return common or [*zip(one.ways[:1], other.ways[:1], strict=False)]


def _question_readings(treatment: EvaluatedModel, baseline: EvaluatedModel) -> Iterator[_Reading]:
    """CORE of base models, the examination of fine-tuned ones."""
    if treatment.model.phase == "base":
        found, quantity, chance = (treatment.core, baseline.core), CORE, treatment.core_chance
    else:
        found, quantity, chance = (treatment.answers, baseline.answers), CHAT, treatment.chat_chance
    if any(found):
        common = chance.among(*found)
        yield _Reading(quantity, "", *found, common.weights, common.total)


def _long_readings(treatment: Side, baseline: Side) -> Iterator[_Reading]:
    """Bits per byte and needles at every length at which both were read so; lengths are of the baseline's."""
    one, other = treatment.evaluated, baseline.evaluated
    if bool(one.lengths) != bool(other.lengths):
        yield _Reading(LONG_TEXT, "", _shortest(one), _shortest(other), {"": 1.0})
    for length, methods in one.lengths.items():
        if treatment.method not in methods or baseline.method not in other.lengths.get(length, ()):
            continue
        condition = f"{length / other.trained_length:g}x"
        texts = (one.long_texts(length, treatment.method), other.long_texts(length, baseline.method))
        if any(texts):
            yield _Reading(LONG_TEXT, condition, *texts, {"": 1.0})
        found = (one.needles(length, treatment.method), other.needles(length, baseline.method))
        if all(found):
            kinds = {cluster.stratum for cluster in found[0]}
            yield _Reading(NEEDLES, condition, *found, {kind: 1 / len(kinds) for kind in kinds})


def _shortest(one: EvaluatedModel) -> Reading:
    """Of a model that was read at any length, one reading."""
    return next((one.long_texts(length, PLAIN) for length in one.lengths), {})


def _contrast(pair: Pair, reading: _Reading, difference: Difference) -> Contrast:
    replicates, quantity = difference.replicates, reading.quantity
    interval = replicates.interval()
    return Contrast(
        family=pair.family,
        treatment=pair.treatment.label,
        baseline=pair.baseline.label,
        phase=pair.treatment.evaluated.model.phase,
        quantity=quantity.name,
        unit=quantity.unit,
        condition=reading.condition,
        treatment_value=difference.treatment - reading.chance,
        baseline_value=difference.baseline - reading.chance,
        difference=difference.value,
        interval=interval,
        sample_size=replicates.clusters,
        sample_unit=quantity.cluster,
        verdict=verdict_on(interval, replicates.clusters, quantity),
    )


def _unpaired(pair: Pair, reading: _Reading) -> MissingContrast:
    what = " ".join(
        filter(
            None, (f"{reading.quantity.name} of {pair.treatment.label} and {pair.baseline.label}", reading.condition)
        )
    )
    lacking = [
        side.label
        for side, found in ((pair.treatment, reading.treatment), (pair.baseline, reading.baseline))
        if not found
    ]
    why = (
        f"not measured of {' and '.join(lacking)}" if lacking else f"they have no {reading.quantity.cluster} in common"
    )
    return MissingContrast(family=pair.family, what=what, why=why)


def _summaries(pooled: Mapping[tuple[str, ...], list[tuple[Contrast, Replicates]]]) -> Iterable[Summary]:
    """Means of two contrasts and more; of groups that pool the same contrasts, the first is kept."""
    seen: set[tuple[int, ...]] = set()
    for (_, group, *_), members in pooled.items():
        those = tuple(id(contrast) for contrast, _ in members)
        if len(members) < 2 or those in seen:
            continue
        seen.add(those)
        yield _summary(group, members)


def _summary(group: str, members: Sequence[tuple[Contrast, Replicates]]) -> Summary:
    first = members[0][0]
    replicates = mean_of([each for _, each in members])
    quantity = QUANTITIES[first.quantity]
    interval = replicates.interval()
    return Summary(
        family=first.family,
        group=group,
        phase=first.phase,
        quantity=first.quantity,
        unit=first.unit,
        condition=first.condition,
        contrasts=len(members),
        difference=sum(contrast.difference for contrast, _ in members) / len(members),
        interval=interval,
        sample_size=replicates.clusters,
        sample_unit=first.sample_unit,
        verdict=verdict_on(interval, replicates.clusters, quantity),
    )
