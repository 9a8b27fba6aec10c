"""What reading at many times the trained length costs: the one evaluation that takes hours of a GPU, not minutes.

A token read forward takes a third of the FLOPs of one trained on (2 S + 4 n L T against 6 S + 12 n L T), at the length
T that is read and not at the one trained at. The GPU is taken to do as many FLOPs a second as in training, counted the
same way, full attention in both.
"""

from __future__ import annotations

from dataclasses import replace

from core.evaluation.long_context.workload import readings
from core.planning.speed import Shape, Speeds
from core.planning.stage import Stage
from core.stages.identity import FinetuneIdentity, LongContextIdentity, TrainingIdentity


def reading_flops(identity: LongContextIdentity, model: Stage, shape: Shape) -> int:
    """FLOPs of a `long_context` stage on `model`, which trains at `shape`: forward, full attention."""
    total = 0
    for reading in readings(identity.measured, shape.architecture.sequence_length, use_rope=_uses_rope(model)):
        at_length = replace(shape.architecture, sequence_length=reading.length)
        total += reading.texts * reading.length * at_length.flops_per_token // 3
    return total


def reading_hours(flops: int, shape: Shape, speeds: Speeds) -> float:
    """GPU-hours for them, at the FLOPs a second of training at `shape`."""
    return flops / (speeds.of(shape).tokens_per_second * shape.architecture.flops_per_token) / 3600


def _uses_rope(model: Stage) -> bool:
    identity = model.identity
    if isinstance(identity, FinetuneIdentity):
        identity = model.inputs["base"].identity
    assert isinstance(identity, TrainingIdentity)
    return identity.use_rope
