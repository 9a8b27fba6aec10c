"""The answer first, in words made from the numbers: what dropping RoPE does at each length, and what else is clear.

A sentence claims no more than its interval: where that holds zero, no difference was detected; where there are fewer
than six clusters, there were too few to tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from core.study.contrasts import Compared, Contrast, Summary, Verdict
from core.study.written import interval_of, signed

Effect = Contrast | Summary

MODELS = {"base": "base models", "sft": "fine-tuned models", "long_sft": "models fine-tuned at twice the length"}
SPOKEN: Mapping[Verdict, str] = {
    "better": "better",
    "worse": "worse",
    "no difference detected": "no difference detected",
    "too few to tell": "too few to tell",
}
QUESTIONS = (  # family, what is said of its treatment, quantity, what that is
    ("RoPE dropped", "that dropped RoPE, read as they are", "long text", "need in bits per byte of long text"),
    ("RoPE dropped", "that dropped RoPE, read as they are", "needles found", "find of the needles"),
    (
        "RoPE dropped, each at its best",
        "that dropped RoPE, with their logit scale against YaRN",
        "long text",
        "need in bits per byte of long text",
    ),
    (
        "RoPE dropped, each at its best",
        "that dropped RoPE, with their logit scale against YaRN",
        "needles found",
        "find of the needles",
    ),
)


def headline(compared: Compared) -> list[str]:
    """Sentences, the answer to the main question first; what was not compared is not spoken of."""
    return [*_answer(compared), *_details(compared), *_switched(compared)]


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


def _answer(compared: Compared) -> Iterator[str]:
    """One sentence: at which lengths models without RoPE read better or worse."""
    for phase, models in MODELS.items():
        found = effects(compared, "RoPE dropped", phase, "long text")
        if found:
            by_verdict: dict[Verdict, list[str]] = {}
            for condition, one in found.items():
                by_verdict.setdefault(one.verdict, []).append(condition)
            said = [f"{_spoken(verdict)} at {_listed(lengths)}" for verdict, lengths in by_verdict.items()]
            yield (
                f"Read as they are, {models} that dropped RoPE predict text, compared with siblings that kept it: "
                + ("; ".join(said) + " the trained length.")
            )


def _details(compared: Compared) -> Iterator[str]:
    for phase, models in MODELS.items():
        for family, which, quantity, measured in QUESTIONS:
            found = effects(compared, family, phase, quantity)
            if found:
                pairs = {one.contrasts if isinstance(one, Summary) else 1 for one in found.values()}
                count = max(pairs)
                of = "one pair" if count == 1 else f"mean of {count} pairs"
                parts = [f"at {condition} {effect_text(one)}" for condition, one in found.items()]
                yield f"How much more {models} {which}, {measured} ({of}): {'; '.join(parts)}."


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


def effect_text(one: Effect) -> str:
    """`+0.1185 (95 % interval +0.1000 to +0.1400, 8 texts: worse)`."""
    interval = f"95 % interval {interval_of(one)}, " if one.interval is not None else ""
    return f"{signed(one.difference)} ({interval}{one.sample_size:,} {one.sample_unit}: {SPOKEN[one.verdict]})"


def _spoken(verdict: Verdict) -> str:
    return SPOKEN[verdict]


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
