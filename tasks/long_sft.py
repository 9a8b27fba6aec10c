"""Supervised fine-tuning at twice the length, from the same base as the ordinary one."""

from __future__ import annotations

from collections.abc import Mapping

from core.stages.kind import StageKind
from tasks.launch import Launcher
from tasks.metrics import decimal
from tasks.stage_task import stage_task


def summary(metrics: Mapping[str, object]) -> str:
    """What a person wants to read beside the finished stage."""
    return f"loss {decimal(metrics, 'final_loss')}, {decimal(metrics, 'validation_bpb')} bits per byte"


long_sft = stage_task(StageKind.LONG_SFT, launcher=Launcher.TORCHRUN, retries=2, summary=summary)
