"""Measuring one model within and beyond its trained length: a single process, on the GPU when there is one."""

from __future__ import annotations

from collections.abc import Mapping

from core.stages.kind import StageKind
from tasks.launch import Launcher
from tasks.metrics import decimal
from tasks.stage_task import stage_task

PLAIN = "bits_per_byte/plain/"


def summary(metrics: Mapping[str, object]) -> str:
    """What a person wants to read beside the finished stage: the greatest length, read as it is."""
    factors = [int(name[len(PLAIN) : -1]) for name in metrics if name.startswith(PLAIN)]
    if not factors:
        return "no held-out text is long enough"
    longest = max(factors)
    return f"{decimal(metrics, f'{PLAIN}{longest}x')} bits per byte at {longest}x"


long_context = stage_task(StageKind.LONG_CONTEXT, launcher=Launcher.PROCESS, retries=1, summary=summary)
