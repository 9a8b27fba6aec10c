"""What each model of a study scored by itself, with intervals and sizes of samples, and what making it took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.evaluation.long_context.needles import KINDS
from core.evaluation.long_context.tables import grouped, rate
from core.evaluation.measurement import Measurement
from core.lineage.lineage import Ancestor, Lineage
from core.stages.kind import StageKind
from core.study.evaluated import PLAIN, EvaluatedModel

CALLED = {  # what an evaluation calls it, and what a study does
    "bits_per_byte": "held-out text",
    "bits_per_byte_forward": "held-out text, forward",
    "bits_per_byte_backward": "held-out text, backward",
    "bits_per_byte_train": "text that it was trained on",
    "rope_at_drop/with": "RoPE on, at the drop",
    "rope_at_drop/without": "RoPE off, at the drop",
    "rope_at_end/with": "RoPE on, after recalibration",
    "rope/without": "RoPE switched off",
    "cloze_last_word": "hidden last word",
    "cloze_first_word": "hidden first word",
    "chatcore": "ChatCORE",
}


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number of one model."""

    measured: str
    value: float
    unit: str
    interval: tuple[float, float] | None
    sample_size: int
    sample_unit: str


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """A model, what it took, and its scores; `device_hours` is None where no record tells it."""

    name: str
    trunk: str
    phase: str
    depth: int
    parameters: int
    tokens: int
    tokens_per_parameter: float
    rope: str
    direction: str
    trained_length: int
    device_hours: float | None
    device: str
    scores: tuple[Score, ...]
    missing: tuple[str, ...]

    def score(self, measured: str) -> Score | None:
        """The score of that name."""
        return next((one for one in self.scores if one.measured == measured), None)


@dataclass(frozen=True, kw_only=True)
class PositionRow:
    """Bits per byte in positions [first, end) of texts of `length` tokens."""

    model: str
    method: str
    length: int
    first: int
    end: int
    value: float
    interval: tuple[float, float] | None
    sample_size: int
    sample_unit: str


@dataclass(frozen=True, kw_only=True)
class NeedleRow:
    """The share of trials that were right by likelihood, all kinds together, at one depth of the text."""

    model: str
    method: str
    length: int
    depth: float
    chance: float
    value: float
    interval: tuple[float, float] | None
    sample_size: int
    sample_unit: str


def model_row(one: EvaluatedModel, lineage: Lineage) -> ModelRow:
    """What there is to say of a model; `lineage` is that of the whole study."""
    model = one.model
    role = next(role for role in lineage_roles(model.name) if role in lineage.deliverables) if lineage.stages else ""
    training = lineage.behind([role]).training
    scores = tuple(_scores(one))
    found = {score.measured for score in scores}
    return ModelRow(
        name=model.name,
        trunk=model.trunk,
        phase=model.phase,
        depth=model.depth,
        parameters=model.parameters,
        tokens=model.tokens,
        tokens_per_parameter=model.tokens_per_parameter,
        rope="kept" if model.rope_drop is None else f"dropped at {model.rope_drop:.0%}",
        direction=model.direction,
        trained_length=model.sequence_length,
        device_hours=_hours(training),
        device=", ".join(dict.fromkeys(filter(None, (stage.device for stage in training)))),
        scores=scores,
        missing=tuple(name for name in _wanted(model.phase) if name not in found) + tuple(_reported_missing(one)),
    )


def lineage_roles(name: str) -> tuple[str, ...]:
    """The roles in which the evaluations of a model are inputs of a study."""
    kinds = (StageKind.EVALUATE, StageKind.LONG_CONTEXT, StageKind.CORE_METRIC)
    return tuple(f"{kind.value}:{name}" for kind in kinds)


def position_rows(one: EvaluatedModel) -> Iterator[PositionRow]:
    """By position, as the model's own evaluation counted it."""
    for row in one.long_context.get("tables", {}).get("positions", ()):
        if row["first"] is not None:
            yield PositionRow(
                model=one.model.name,
                method=row["method"],
                length=row["factor"] * one.trained_length,
                first=row["first"],
                end=row["end"],
                value=row["result"]["value"],
                interval=_interval(row["result"]),
                sample_size=row["texts"],
                sample_unit="texts",
            )


def needle_rows(one: EvaluatedModel) -> Iterator[NeedleRow]:
    """By depth, from the raw trials."""
    trials = [trial for trial in (one.raw.trials if one.raw else ()) if trial.kind in KINDS]
    groups = grouped(trials, lambda trial: (trial.method, trial.length, trial.depth))
    for (method, length, depth), those in sorted(groups.items()):
        found = rate(sum(trial.right for trial in those), len(those))
        yield NeedleRow(
            model=one.model.name,
            method=method,
            length=length,
            depth=depth,
            chance=sum(trial.chance for trial in those) / len(those),
            value=found.value,
            interval=found.interval,
            sample_size=found.sample_size,
            sample_unit=found.sample_unit,
        )


def _wanted(phase: str) -> tuple[str, ...]:
    return ("held-out text", "CORE") if phase == "base" else ("held-out text", "ChatCORE")


def _reported_missing(one: EvaluatedModel) -> Iterator[str]:
    for document in (one.evaluation, one.long_context):
        for missing in document.get("missing", ()):
            yield f"{missing['what']} ({missing['why']})"
    tasks = one.core_results.get("missing", ())
    if tasks:
        yield f"CORE's {', '.join(tasks)}"


def _scores(one: EvaluatedModel) -> Iterator[Score]:
    results = one.evaluation.get("results", {})
    for name, called in CALLED.items():
        if name in results:
            yield _score(called, results[name])
    if "core" in one.core_results.get("results", {}):
        yield _score("CORE", one.core_results["results"]["core"])
    yield from _long_scores(one)


def _long_scores(one: EvaluatedModel) -> Iterator[Score]:
    for row in one.long_context.get("tables", {}).get("positions", ()):
        if row["first"] is None:
            method = "" if row["method"] == PLAIN else f", {row['method']}"
            yield _score(f"long text at {row['factor']}x{method}", row["result"])
    trials = [trial for trial in (one.raw.trials if one.raw else ()) if trial.kind in KINDS]
    for (factor, method), those in grouped(trials, lambda trial: (trial.factor, trial.method)).items():
        called = "" if method == PLAIN else f", {method}"
        found = rate(sum(trial.right for trial in those), len(those))
        yield _measured(f"needles found at {factor}x{called}", found)


def _score(measured: str, result: Mapping[str, Any]) -> Score:
    return Score(
        measured=measured,
        value=result["value"],
        unit=result["unit"],
        interval=_interval(result),
        sample_size=result["sample_size"],
        sample_unit=result["sample_unit"],
    )


def _measured(measured: str, found: Measurement) -> Score:
    return Score(
        measured=measured,
        value=found.value,
        unit=found.unit,
        interval=found.interval,
        sample_size=found.sample_size,
        sample_unit=found.sample_unit,
    )


def _interval(result: Mapping[str, Any]) -> tuple[float, float] | None:
    bounds = result["interval"]
    return None if bounds is None else (bounds[0], bounds[1])


def _hours(training: Sequence[Ancestor]) -> float | None:
    """Hours of one device over all stages that trained it; None as soon as one stage does not tell."""
    seconds = [stage.metrics.get("device_seconds") for stage in training]
    known = [each for each in seconds if isinstance(each, (int, float))]
    return sum(known) / 3600 if known and len(known) == len(seconds) else None
