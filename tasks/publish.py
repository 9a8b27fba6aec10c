"""Publishing the repositories of a tag: a side effect, idempotent, tried again when the network fails.

A tag that a study in force covers is published with it, whoever publishes: the store says which study that is.
"""

from __future__ import annotations

from collections.abc import Mapping

from core.planning.study import publication_in
from core.stages.kind import StageKind
from tasks.hub_token import hub_environment
from tasks.launch import Launcher
from tasks.metrics import number
from tasks.perform import Assignment
from tasks.settings import settings_from_environment
from tasks.stage_task import Ending, as_task, ending_of, run_display
from tasks.stopping import stop_event


def summary(metrics: Mapping[str, object]) -> str:
    """What a person wants to read beside the finished stage."""
    return f"{number(metrics, 'repositories')} repositories, {number(metrics, 'files_written')} files written"


def publish_tag(tag: str, key: str, title: str, devices: str | None = None) -> Ending:
    """Publish `tag`; its plan knows the stage by `key`, its key without a study. `devices` are for stages with GPUs."""
    settings = settings_from_environment()
    assignment = Assignment(
        stage=publication_in(tag, settings.open_store()),
        settings=settings,
        launcher=Launcher.PROCESS,
        title=title,
        display=run_display(),
        devices=devices,
        environment=hub_environment,
        stop=stop_event(),
    )
    return ending_of(assignment, summary)


publish = as_task(publish_tag, StageKind.PUBLISH, retries=3)
