"""The study of some tags: one process, once every evaluation that it compares is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.planning.study import study_stage
from core.stages.kind import StageKind
from tasks.launch import Launcher
from tasks.metrics import number
from tasks.perform import Assignment
from tasks.settings import settings_from_environment
from tasks.stage_task import Ending, as_task, ending_of, run_display
from tasks.stopping import stop_event


def summary(metrics: Mapping[str, object]) -> str:
    """What a person wants to read beside the finished stage."""
    counts = {"models": "models", "contrasts": "contrasts", "clear": "intervals without zero", "missing": "missing"}
    return ", ".join(f"{number(metrics, name)} {called}" for name, called in counts.items())


def perform_study(tags: Sequence[str], title: str) -> Ending:
    """Compare the models of `tags`. Raises what `tasks.perform.perform` raises."""
    assignment = Assignment(
        stage=study_stage(tags),
        settings=settings_from_environment(),
        launcher=Launcher.PROCESS,
        title=title,
        display=run_display(),
        stop=stop_event(),
    )
    return ending_of(assignment, summary)


study = as_task(perform_study, StageKind.STUDY, retries=1)
