"""Estimate against actual: what a plan says of a training stage on the device that made it, beside what it took.

Both are among the metrics of its manifest: `estimated_device_seconds` and `estimate_basis`, written when it is
committed, and `device_seconds`, which the stage counted over all processes and GPUs that worked on it. The actual time
holds what no estimate does: validation, checkpoints, compilation, and the talk of several GPUs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from artifacts.manifest import Manifest
from artifacts.store import Store
from core.planning.calibration import speeds_on
from core.planning.cost import stage_cost
from core.planning.speed import shape_of
from core.planning.stage import Stage
from core.planning.stream_length import packed_by_manifest
from core.stages.kind import DEFINITIONS, Resource, StageKind

Metrics = Mapping[str, object]


def estimate_metrics(stage: Stage, device: str, store: Store) -> dict[str, object]:
    """The metrics that keep the estimate; `device` is as torch calls it. Reads a small record and a manifest at most.

    Empty for a stage that trains nothing, or on a device of whose speed nothing is known. Raises `StoreError`.
    """
    shape = shape_of(stage)
    if shape is None:
        return {}
    speeds = speeds_on(store, device, [shape])
    if not speeds.knows(shape):
        return {}
    seconds = 3600 * stage_cost(stage, speeds, packed=packed_by_manifest(store)).gpu_hours
    return {"estimated_device_seconds": round(seconds, 3), "estimate_basis": speeds.of(shape).basis}


def measured_gpu_hours(manifest: Manifest) -> float | None:
    """What making the artifact took, by its own count, else by the clock around it; 0 for what runs on no GPU.

    None when its manifest does not tell, or when it is of a kind that this version does not know.
    """
    if manifest.kind not in DEFINITIONS:
        return None
    if DEFINITIONS[StageKind(manifest.kind)].resource is not Resource.GPU:
        return 0.0
    seconds = manifest.metrics.get("device_seconds")
    if isinstance(seconds, (int, float)):
        return seconds / 3600
    began, ended = manifest.provenance.get("started"), manifest.provenance.get("finished")
    if isinstance(began, (int, float)) and isinstance(ended, (int, float)):
        return (ended - began) / 3600
    return None


def comparison(stages: Iterable[Metrics]) -> str:
    """`took 41.2 s of one device, 8% more than the 38.1 s estimated (measured speed)`, all `stages` together.

    Stages without an estimate are left out; empty when none has one.
    """
    actual = estimated = 0.0
    bases: set[object] = set()
    for metrics in stages:
        took, expected = metrics.get("device_seconds"), metrics.get("estimated_device_seconds")
        if isinstance(took, (int, float)) and isinstance(expected, (int, float)) and expected > 0:
            actual, estimated = actual + took, estimated + expected
            bases.add(metrics.get("estimate_basis"))
    if not bases:
        return ""
    basis = "measured" if bases == {"measured"} else "assumed"
    return f"took {_duration(actual)} of one device, {_difference(actual, estimated)} estimated ({basis} speed)"


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:,.2f} hours" if seconds >= 3600 else f"{seconds:,.1f} s"


def _difference(actual: float, estimated: float) -> str:
    """In per cent; as a factor where that is easier to read."""
    ratio = actual / estimated
    if ratio >= 3:
        return f"{ratio:,.1f} times the {_duration(estimated)}"
    return f"{abs(ratio - 1):.0%} {'more' if ratio >= 1 else 'less'} than the {_duration(estimated)}"
