"""What finished stages found out: loss curves of training, tables of evaluations. Only the small files are read.

A result that cannot be read is left out and said so: a page about many stages goes on to the next.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from artifacts.errors import ArtifactDamaged, ArtifactMissing
from artifacts.store import Store
from artifacts.transfer import at_once
from core.planning.plan import Plan, PlannedStage
from core.planning.title import title
from core.stages.identity import EvaluateIdentity
from core.stages.kind import StageKind

TRAINING = (StageKind.PRETRAIN, StageKind.RECALIBRATE, StageKind.SFT, StageKind.LONG_SFT)
CURVE = "loss.svg"
EVALUATIONS = {StageKind.EVALUATE: "evaluation.json", StageKind.CORE_METRIC: "core.json"}
CURVE_BYTES = 300_000  # of one curve; a thousand points a line make about 40,000
CURVES_BYTES = 12_000_000  # of all of them: a page that a phone still opens


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A loss curve as SVG, or why there is none."""

    planned: PlannedStage
    svg: bytes
    missing: str


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One model's results by measurement: value, unit, interval, sample_size, sample_unit."""

    planned: PlannedStage
    suite: str
    results: Mapping[str, Mapping[str, Any]]
    missing: str


@dataclass(frozen=True, kw_only=True)
class Results:
    """In the order of the plan."""

    curves: tuple[Curve, ...]
    evaluations: tuple[Evaluation, ...]


def read_results(plan: Plan, store: Store) -> Results:
    """Read the curves and evaluations of all finished stages of `plan`. Raises `StoreUnavailable`."""
    cached = [planned for planned in plan.stages if planned.progress.state == "cached"]
    training = [planned for planned in cached if planned.stage.kind in TRAINING]
    curves = at_once(lambda planned: _curve(planned, store), training)
    evaluations = at_once(
        lambda planned: _evaluation(planned, store), [one for one in cached if one.stage.kind in EVALUATIONS]
    )
    return Results(curves=tuple(_within(CURVES_BYTES, curves)), evaluations=tuple(evaluations))


def measurements(evaluations: Iterable[Evaluation]) -> list[str]:
    """The names of all measurements, in the order they were met."""
    return list(dict.fromkeys(name for evaluation in evaluations for name in evaluation.results))


def _within(limit: int, curves: Sequence[Curve]) -> list[Curve]:
    """As many as `limit` bytes hold; the newest stages of a plan come last, so the first give way."""
    kept: list[Curve] = []
    for curve in reversed(curves):
        limit -= len(curve.svg)
        too_much = limit < 0 and not curve.missing
        kept.append(Curve(planned=curve.planned, svg=b"", missing="left out: the page is full") if too_much else curve)
    return kept[::-1]


def _curve(planned: PlannedStage, store: Store) -> Curve:
    content, missing = _read(planned, store, CURVE, CURVE_BYTES)
    return Curve(planned=planned, svg=content, missing=missing)


def _evaluation(planned: PlannedStage, store: Store) -> Evaluation:
    identity = planned.stage.identity
    suite = identity.suite if isinstance(identity, EvaluateIdentity) else "CORE"
    content, missing = _read(planned, store, EVALUATIONS[planned.stage.kind], CURVE_BYTES)
    results = json.loads(content)["results"] if content else {}
    return Evaluation(planned=planned, suite=suite, results=results, missing=missing)


def _read(planned: PlannedStage, store: Store, path: str, limit: int) -> tuple[bytes, str]:
    """The bytes of one file, or why they are not shown."""
    try:
        manifest = store.manifest(planned.stage.address)
        size = next((file.bytes for file in manifest.files if file.path == path), 0) if manifest else 0
        if manifest is None or not size:
            return b"", f"{title(planned.stage)} left no {path}"
        if size > limit:
            return b"", f"{path} has {size:,} bytes, too many to show"
        return store.read_file(manifest, path), ""
    except (ArtifactDamaged, ArtifactMissing) as error:
        return b"", str(error)
