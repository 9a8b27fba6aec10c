"""Writing a model in nanochat's own layout."""

from __future__ import annotations

from collections.abc import Mapping

from core.stages.kind import StageKind
from tasks.launch import Launcher
from tasks.metrics import number
from tasks.stage_task import stage_task


def summary(metrics: Mapping[str, object]) -> str:
    """What a person wants to read beside the finished stage."""
    return f"{number(metrics, 'parameters')} parameters"


export_native = stage_task(StageKind.EXPORT_NATIVE, launcher=Launcher.PROCESS, retries=1, summary=summary)
