"""Evaluating one model: a single process, on the GPU when there is one."""

from __future__ import annotations

from collections.abc import Mapping

from core.stages.kind import StageKind
from tasks.launch import Launcher
from tasks.metrics import decimal
from tasks.stage_task import stage_task


def summary(metrics: Mapping[str, object]) -> str:
    """What a person wants to read beside the finished stage."""
    bits = f"{decimal(metrics, 'bits_per_byte')} bits per byte"
    return f"{bits}, ChatCORE {decimal(metrics, 'chatcore')}" if "chatcore" in metrics else bits


evaluate = stage_task(StageKind.EVALUATE, launcher=Launcher.PROCESS, retries=1, summary=summary)
