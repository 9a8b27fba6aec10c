"""Collecting evaluation questions: may download data sets, so a broken connection is tried again."""

from __future__ import annotations

from collections.abc import Mapping

from core.stages.kind import StageKind
from tasks.launch import Launcher
from tasks.metrics import number
from tasks.stage_task import stage_task


def summary(metrics: Mapping[str, object]) -> str:
    """What a person wants to read beside the finished stage."""
    return f"{number(metrics, 'questions')} questions"


questions = stage_task(StageKind.QUESTIONS, launcher=Launcher.PROCESS, retries=3, summary=summary)
