"""Comparing evaluation questions with the rows that pretraining reads: CPU, one pass over the packed text."""

from __future__ import annotations

from collections.abc import Mapping

from core.stages.kind import StageKind
from tasks.launch import Launcher
from tasks.metrics import number
from tasks.stage_task import stage_task


def summary(metrics: Mapping[str, object]) -> str:
    """What a person wants to read beside the finished stage."""
    return f"{number(metrics, 'overlapping_questions')} of {number(metrics, 'questions')} questions overlap"


decontaminate = stage_task(StageKind.DECONTAMINATE, launcher=Launcher.PROCESS, retries=1, summary=summary)
