"""Collecting a corpus: network and disk; worth several tries when a connection breaks."""

from __future__ import annotations

from collections.abc import Mapping

from core.stages.kind import StageKind
from tasks.launch import Launcher
from tasks.metrics import number
from tasks.stage_task import stage_task


def summary(metrics: Mapping[str, object]) -> str:
    """What a person wants to read beside the finished stage."""
    return f"{number(metrics, 'documents')} documents, {number(metrics, 'characters')} characters"


corpus = stage_task(StageKind.CORPUS, launcher=Launcher.PROCESS, retries=3, summary=summary)
