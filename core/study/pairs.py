"""Which models are compared: the questions that the family was built to ask.

Both sides of a pair differ in one respect. A pair whose other half is not in the study is listed with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from core.study.evaluated import PLAIN, VALIDATION, EvaluatedModel

Family = Literal[
    "RoPE dropped",
    "RoPE dropped, each at its best",
    "RoPE switched off",
    "RoPE scaling",
    "logit scale",
    "fine-tuning",
    "direction",
]

TUNED = {"sft": "base", "long_sft": "sft"}  # what a fine-tune is compared with


@dataclass(frozen=True, kw_only=True)
class Side:
    """A model and how it reads: long texts by a method, rows as `rows` says."""

    evaluated: EvaluatedModel
    method: str = PLAIN
    rows: str = VALIDATION

    @property
    def label(self) -> str:
        """`tiny_drope_50-base`, and how it reads unless it does so as it was trained."""
        how = [one for one, usual in ((self.method, PLAIN), (self.rows, VALIDATION)) if one != usual]
        return ", ".join([self.evaluated.model.name, *how])


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two sides that differ in one respect; `groups` say in which means the difference is pooled."""

    family: Family
    treatment: Side
    baseline: Side
    groups: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class MissingContrast:
    """What could not be compared, and why."""

    family: Family
    what: str
    why: str


def pairs_of(models: Sequence[EvaluatedModel]) -> Iterator[Pair | MissingContrast]:
    """Every pair among `models`."""
    yield from _rope_pairs(models)
    yield from _tuning_pairs(models)
    yield from _method_pairs(models)
    yield from _switch_pairs(models)
    yield from _direction_pairs(models)


def _rope_pairs(models: Sequence[EvaluatedModel]) -> Iterator[Pair | MissingContrast]:
    """Each model that dropped RoPE beside its sibling that kept it: as they are, and each extended at its best."""
    kept = {(one.model.trunk, one.model.phase): one for one in models if one.model.rope_drop is None}
    for one in models:
        model = one.model
        if model.rope_drop is None:
            continue
        sibling = kept.get((model.trunk, model.phase))
        if sibling is None:
            why = f"no {model.phase} model of {model.trunk} that kept RoPE is in the study"
            yield MissingContrast(family="RoPE dropped", what=model.name, why=why)
            continue
        groups = (
            "all",
            f"dropped at {model.rope_drop:.0%}",
            f"depth {model.depth}",
            f"{model.tokens_per_parameter:g} tokens per parameter",
        )
        yield Pair(
            family="RoPE dropped", treatment=Side(evaluated=one), baseline=Side(evaluated=sibling), groups=groups
        )
        yield Pair(
            family="RoPE dropped, each at its best",
            treatment=Side(evaluated=one, method="logit-scale"),
            baseline=Side(evaluated=sibling, method="yarn"),
            groups=groups,
        )


def _tuning_pairs(models: Sequence[EvaluatedModel]) -> Iterator[Pair]:
    """Each fine-tune beside what it is compared with; both start from the base."""
    by_phase: dict[tuple[str, float | None, str], EvaluatedModel] = {
        (one.model.trunk, one.model.rope_drop, one.model.phase): one for one in models
    }
    for one in models:
        model = one.model
        before = by_phase.get((model.trunk, model.rope_drop, TUNED.get(model.phase, "")))
        if before is not None:
            rope = "kept RoPE" if model.rope_drop is None else "dropped RoPE"
            yield Pair(
                family="fine-tuning",
                treatment=Side(evaluated=one),
                baseline=Side(evaluated=before),
                groups=("all", rope),
            )


def _method_pairs(models: Sequence[EvaluatedModel]) -> Iterator[Pair]:
    """Each way to extend a model beside reading with it as it is."""
    for one in models:
        methods = dict.fromkeys(method for each in one.lengths.values() for method in each if method != PLAIN)
        for method in methods:
            yield Pair(
                family="logit scale" if method == "logit-scale" else "RoPE scaling",
                treatment=Side(evaluated=one, method=method),
                baseline=Side(evaluated=one),
                groups=(method,),
            )


def _switch_pairs(models: Sequence[EvaluatedModel]) -> Iterator[Pair]:
    """The same weights with RoPE switched off and on: at the drop, after recalibration, and of models that kept it."""
    for one in models:
        for name in ("rope_at_drop", "rope_at_end", "rope"):
            if {f"{name}/with", f"{name}/without"} <= set(one.row_sets):
                yield Pair(
                    family="RoPE switched off",
                    treatment=Side(evaluated=one, rows=f"{name}/without"),
                    baseline=Side(evaluated=one, rows=f"{name}/with"),
                    groups=(name,),
                )


def _direction_pairs(models: Sequence[EvaluatedModel]) -> Iterator[Pair]:
    """A model that reads in both directions beside those of one, at equal depth and tokens; backward beside forward."""
    order = ("bidirectional", "backward", "forward")
    alike: dict[tuple[object, ...], list[EvaluatedModel]] = {}
    for one in models:
        model = one.model
        alike.setdefault((model.depth, model.tokens, model.phase, model.rope_drop), []).append(one)
    for siblings in alike.values():
        ranked = sorted(siblings, key=lambda one: order.index(one.model.direction))
        for place, one in enumerate(ranked):
            for other in ranked[place + 1 :]:
                if one.model.direction != other.model.direction:
                    yield Pair(
                        family="direction",
                        treatment=Side(evaluated=one),
                        baseline=Side(evaluated=other),
                        groups=(f"{one.model.direction} less {other.model.direction}",),
                    )
