"""Training on after RoPE was dropped; reports bits per byte with and without it on the same weights."""

from __future__ import annotations

from collections.abc import Mapping

from core.stages.kind import StageKind
from tasks.launch import Launcher
from tasks.metrics import decimal
from tasks.stage_task import stage_task


def summary(metrics: Mapping[str, object]) -> str:
    """What a person wants to read beside the finished stage."""
    return (
        f"bits per byte at the drop {decimal(metrics, 'drop_bpb_with_rope')} with RoPE, "
        f"{decimal(metrics, 'drop_bpb_without_rope')} without; {decimal(metrics, 'validation_bpb')} recalibrated"
    )


recalibrate = stage_task(StageKind.RECALIBRATE, launcher=Launcher.TORCHRUN, retries=2, summary=summary)
