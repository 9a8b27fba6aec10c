"""Supervised fine-tuning at the pretraining length."""

from __future__ import annotations

from collections.abc import Mapping

from core.stages.kind import StageKind
from tasks.launch import Launcher
from tasks.metrics import decimal
from tasks.stage_task import stage_task


def summary(metrics: Mapping[str, object]) -> str:
    """What a person wants to read beside the finished stage."""
    return f"loss {decimal(metrics, 'final_loss')}, {decimal(metrics, 'validation_bpb')} bits per byte"


sft = stage_task(StageKind.SFT, launcher=Launcher.TORCHRUN, retries=2, summary=summary)
