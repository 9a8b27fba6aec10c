"""Measuring one model within and beyond its trained length: a single process, on the GPU when there is one."""

from __future__ import annotations

from collections.abc import Mapping

from core.stages.kind import StageKind
from tasks.launch import Launcher
from tasks.metrics import decimal
from tasks.stage_task import stage_task


def summary(metrics: Mapping[str, object]) -> str:
    """What a person wants to read beside the finished stage: the greatest length, read as it is."""
    plain = [name for name in metrics if name.startswith("bits_per_byte/plain/")]
    if not plain:
        return "no held-out text is long enough"
    return f"{decimal(metrics, plain[-1])} bits per byte at {plain[-1].rsplit('/', 1)[1]}"


long_context = stage_task(StageKind.LONG_CONTEXT, launcher=Launcher.PROCESS, retries=1, summary=summary)
