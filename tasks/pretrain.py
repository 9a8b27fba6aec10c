"""A pretraining segment: hours on GPUs, resumed from its last checkpoint when a process dies."""

from __future__ import annotations

from collections.abc import Mapping

from core.stages.kind import StageKind
from tasks.launch import Launcher
from tasks.metrics import decimal, number
from tasks.stage_task import stage_task


def summary(metrics: Mapping[str, object]) -> str:
    """What a person wants to read beside the finished stage."""
    quality = f"loss {decimal(metrics, 'final_loss')}, {decimal(metrics, 'validation_bpb')} bits per byte"
    return f"{quality}, {number(metrics, 'tokens_per_second')} tokens/s"


pretrain = stage_task(StageKind.PRETRAIN, launcher=Launcher.TORCHRUN, retries=2, summary=summary)
