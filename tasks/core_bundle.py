"""Collecting the tasks of CORE: may fetch them from a bucket, so a broken connection is tried again."""

from __future__ import annotations

from collections.abc import Mapping

from core.stages.kind import StageKind
from tasks.launch import Launcher
from tasks.metrics import number
from tasks.stage_task import stage_task


def summary(metrics: Mapping[str, object]) -> str:
    """What a person wants to read beside the finished stage."""
    missing = metrics.get("missing")
    said = f", {len(missing)} missing" if isinstance(missing, list) and missing else ""
    return f"{number(metrics, 'tasks')} tasks, {number(metrics, 'examples')} questions{said}"


core_bundle = stage_task(StageKind.CORE_BUNDLE, launcher=Launcher.PROCESS, retries=3, summary=summary)
