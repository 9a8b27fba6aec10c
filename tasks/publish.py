"""Publishing the repositories of a tag: a side effect, idempotent, tried again when the network fails."""

from __future__ import annotations

from collections.abc import Mapping

from core.stages.kind import StageKind
from tasks.hub_token import hub_environment
from tasks.launch import Launcher
from tasks.metrics import number
from tasks.stage_task import stage_task


def summary(metrics: Mapping[str, object]) -> str:
    """What a person wants to read beside the finished stage."""
    return f"{number(metrics, 'repositories')} repositories, {number(metrics, 'files_written')} files written"


publish = stage_task(
    StageKind.PUBLISH, launcher=Launcher.PROCESS, retries=3, summary=summary, environment=hub_environment
)
