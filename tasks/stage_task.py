"""A Prefect task for each stage kind: named for people, shown as Cached when the store has the artifact already.

Prefect's own cache is off: presence of a committed, whole artifact in the store is the cache. Tasks pass a
tag and a key in, and a small reference out; bytes never travel through Prefect. A stage that was asked to stop
(tasks.stopping) ends as Cancelled, its checkpoint saved. Tasks have no tags: for a tagged task the server is asked
for a concurrency slot, half a second and more each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from prefect import Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import MissingContextError
from prefect.states import Cancelled, Completed

from core.planning.catalogue import stage_of_key
from core.planning.stage import Stage
from core.stages.kind import StageKind
from tasks.dispatch.dispatch import Perform, bring_about
from tasks.display import Display, display_with
from tasks.launch import Launcher
from tasks.perform import PASSING, Assignment, Performed, StageStopped, perform
from tasks.settings import settings_from_environment
from tasks.stopping import stop_event
from tasks.ui.shown import shown

RETRY_DELAYS_SECONDS = (1.0, 3.0, 9.0)  # a killed process can start again at once, a network may need a while
Summary = Callable[[Mapping[str, object]], str]
Environment = Callable[[Stage], Mapping[str, str]]
Ending = State[dict[str, object]] | dict[str, object]


def _nothing_more(_stage: Stage) -> Mapping[str, str]:
    return {}


def stage_task(
    kind: StageKind, *, launcher: Launcher, retries: int, summary: Summary, environment: Environment = _nothing_more
) -> Task[..., Any]:
    """The task that performs stages of `kind`; it retries only what a machine did, never what a recipe caused.

    `environment` is asked, when a stage is really made, for variables that its process gets besides ours.
    """

    def perform_stage(tag: str, key: str, title: str, devices: str | None = None) -> Ending:
        assignment = Assignment(
            stage=stage_of_key(tag, key),
            settings=settings_from_environment(),
            launcher=launcher,
            title=title,
            display=run_display(),
            devices=devices,
            environment=environment,
            stop=stop_event(),
        )
        return ending_of(assignment, summary, partial(bring_about, tag))

    return as_task(perform_stage, kind, retries)


def as_task(function: Callable[..., Ending], kind: StageKind, retries: int) -> Task[..., Any]:
    """`function`, which performs a stage of `kind` and has a parameter `title`, as a task."""
    return task(
        name=kind.value,
        task_run_name="{title}",
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=retries,
        retry_delay_seconds=list(RETRY_DELAYS_SECONDS[:retries]),
        retry_condition_fn=_worth_retrying,
    )(function)


def ending_of(assignment: Assignment, summary: Summary, way: Perform = perform) -> Ending:
    """Perform a stage; return its reference, as the data of a state where the run is to be called something."""
    try:
        done = shown(way, assignment, summary)
    except StageStopped as stop:
        return Cancelled(message=str(stop))
    reference = _reference(done, summary)
    if done.state == "made":
        return reference
    name = "Cached" if done.state == "cached" else "Reused"
    return Completed(name=name, message=f"{assignment.stage.address} is in the store", data=reference)


def run_display() -> Display:
    """The display in use together with the log of this task run, which the Prefect UI shows."""
    return display_with(_logger())


def _reference(done: Performed, summary: Summary) -> dict[str, object]:
    manifest = done.manifest
    return {
        "key": manifest.key,
        "state": done.state,
        "seconds": done.seconds,
        "metrics": dict(manifest.metrics),
        "summary": summary(manifest.metrics),
    }


def _worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Asked only while a try is left; says why there will be another."""
    error = state.result(raise_on_failure=False)
    if not isinstance(error, PASSING):
        return False
    run_display().say(f"trying again after: {error}")
    return True


def _logger() -> logging.Logger:
    try:
        return get_run_logger()  # type: ignore[return-value]
    except MissingContextError:
        return logging.getLogger("miniseries")
