"""The answer first, in words made from the numbers: what dropping RoPE does at each length, and what else is clear.

A sentence claims no more than its interval: where that holds zero, no difference was detected; where there are fewer
than six clusters, there were too few to tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from core.study.contrasts import Compared, Contrast, Summary, Verdict
from core.study.pairs import Family
from core.study.written import PHASES, interval_of, signed

Effect = Contrast | Summary

AS_THEY_ARE = "without RoPE, read as they are"
AT_THEIR_BEST = "without RoPE and with their logit scale, less siblings with YaRN"
QUESTIONS: tuple[tuple[Family, str, str], ...] = (  # family, what is said of its treatment, quantity
    ("RoPE dropped", AS_THEY_ARE, "long text"),
    ("RoPE dropped", AS_THEY_ARE, "needles found"),
    ("RoPE dropped, each at its best", AT_THEIR_BEST, "long text"),
    ("RoPE dropped, each at its best", AT_THEIR_BEST, "needles found"),
)
QUALITY = ("held-out text", "hidden words found", "CORE", "ChatCORE")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One question: what was compared in what, and the effect at each length."""

    question: str
    measured: str
    effects: Mapping[str, Effect]


def headline(compared: Compared) -> list[str]:
    """The answer to the main question, then what else there is; what was not compared is not spoken of."""
    return [*lead(compared), *further(compared)]


def further(compared: Compared) -> list[str]:
    """What else there is to say: quality at the trained length, RoPE switched off, directions."""
    return [*_quality(compared), *_switched(compared), *_directions(compared)]


def effects(compared: Compared, family: str, phase: str, quantity: str) -> dict[str, Effect]:
    """By condition: the mean of all pairs, or the only pair there is."""
    found: dict[str, list[Contrast]] = {}
    for contrast in compared.contrasts:
        if (contrast.family, contrast.phase, contrast.quantity) == (family, phase, quantity):
            found.setdefault(contrast.condition, []).append(contrast)
    means = {
        one.condition: one
        for one in compared.summaries
        if (one.family, one.phase, one.quantity, one.group) == (family, phase, quantity, "all")
    }
    return {condition: means.get(condition, those[0]) for condition, those in found.items()}


def lead(compared: Compared) -> Iterator[str]:
    """Of each kind of model: at which lengths it predicts text better or worse without RoPE, and by how much."""
    for phase, models in PHASES.items():
        found = effects(compared, "RoPE dropped", phase, "long text")
        if found:
            by_verdict: dict[Verdict, list[str]] = {}
            for condition, one in found.items():
                by_verdict.setdefault(one.verdict, []).append(condition)
            said = "; ".join(f"{verdict} at {_listed(lengths)}" for verdict, lengths in by_verdict.items())
            yield f"How {models} without RoPE predict text, beside siblings that kept it: {said} the trained length."


def answers(compared: Compared) -> list[Answer]:
    """Every question about dropping RoPE of which there is an answer."""
    found = []
    for phase, models in PHASES.items():
        for family, which, quantity in QUESTIONS:
            by_length = effects(compared, family, phase, quantity)
            if by_length:
                count = max(one.contrasts if isinstance(one, Summary) else 1 for one in by_length.values())
                of = "one pair" if count == 1 else f"mean of {count} pairs"
                unit = next(iter(by_length.values())).unit
                measured = f"{quantity}, {unit}, {of}"
                found.append(Answer(question=f"{models} {which}", measured=measured, effects=by_length))
    return found


def details(compared: Compared) -> Iterator[str]:
    """Every answer length by length, with its interval, its sample and what to make of it."""
    for answer in answers(compared):
        parts = (f"at {length} {effect_text(one)}" for length, one in answer.effects.items())
        yield f"{answer.question[0].upper()}{answer.question[1:]} ({answer.measured}): {'; '.join(parts)}."


def _quality(compared: Compared) -> Iterator[str]:
    """What has no length: held-out text, hidden words, and the means over tasks."""
    for phase, models in PHASES.items():
        found = {one: effects(compared, "RoPE dropped", phase, one).get("") for one in QUALITY}
        parts = [f"{quantity} {effect_text(one)}" for quantity, one in found.items() if one is not None]
        if parts:
            yield f"{models[0].upper()}{models[1:]} without RoPE, less siblings that kept it: {'; '.join(parts)}."


def _switched(compared: Compared) -> Iterator[str]:
    """What switching RoPE off costs the same weights, before and after recalibration."""
    said = (("rope_at_drop", "at the drop"), ("rope_at_end", "after recalibration"), ("rope", "in models that kept it"))
    parts = []
    for name, when in said:
        found = [one for one in compared.contrasts if one.treatment.endswith(f", {name}/without")]
        mean = next((one for one in compared.summaries if (one.family, one.group) == ("RoPE switched off", name)), None)
        if found:
            parts.append(f"{when} {effect_text(mean or found[0])}")
    if parts:
        yield f"Switching RoPE off without any training costs the same weights in bits per byte: {'; '.join(parts)}."


def _directions(compared: Compared) -> Iterator[str]:
    """Each pair of models that differ in the direction in which they read."""
    for one in compared.contrasts:
        if one.family == "direction" and one.quantity in ("held-out text", "hidden words found"):
            condition = f", {one.condition}" if one.condition else ""
            yield f"{one.treatment} less {one.baseline} in {one.quantity}, {one.unit}{condition}: {effect_text(one)}."


def effect_text(one: Effect) -> str:
    """`+0.1185 (95 % interval +0.1000 to +0.1400, 8 texts: worse)`."""
    interval = f"95 % interval {interval_of(one)}, " if one.interval is not None else ""
    return f"{signed(one.difference)} ({interval}{one.sample_size:,} {one.sample_unit}: {one.verdict})"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
