"""Measuring CORE of one base model: a single process, on the GPU when there is one."""

from __future__ import annotations

from collections.abc import Mapping

from core.stages.kind import StageKind
from tasks.launch import Launcher
from tasks.metrics import decimal
from tasks.stage_task import stage_task


def summary(metrics: Mapping[str, object]) -> str:
    """What a person wants to read beside the finished stage."""
    tasks = sum(name.startswith("accuracy/") for name in metrics)
    return f"CORE {decimal(metrics, 'core')} of {tasks} tasks"


core_metric = stage_task(StageKind.CORE_METRIC, launcher=Launcher.PROCESS, retries=1, summary=summary)
