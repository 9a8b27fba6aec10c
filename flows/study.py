"""Many tags studied in one flow run: what their evaluations need, then the study, then their cards if that is asked.

Everything is cached as in any run: a changed evaluation makes the study anew and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from core.planning.catalogue import DELIVERED, EVALUATED, publication
from core.planning.stage import Stage
from core.planning.study import study_stage
from core.planning.title import unique_title
from flows.crash_loop import require_no_crash_loop
from flows.execution import execute
from flows.notifications import announced
from flows.parameters import Tag
from flows.run_name import name_by_tags
from flows.supervision import supervision
from flows.task_run_endings import end_as_cancelled, end_as_crashed, end_those_of_earlier_attempts
from tasks.settings import RunSettings, settings_from_environment
from tasks.stage_threads import StageThreads
from tasks.study import study as study_task
from tasks.table import TASKS


@flow(
    name="study",
    flow_run_name=name_by_tags,
    persist_result=False,
    validate_parameters=False,
    on_cancellation=[end_as_cancelled],
    on_crashed=[end_as_crashed],
)
def study(tags: list[Tag], publish: bool = False) -> State[dict[str, Any]]:
    """Evaluate the models of `tags`, training them if need be, compare them, and publish their cards with it.

    Its data: {stages: {key: reference}, failed: {key: error}, blocked: {key: key of the failed stage}}.
    """
    with announced(tags) as announcement:
        require_no_crash_loop()
        end_those_of_earlier_attempts()
        settings = settings_from_environment()
        execution = execute(tags, settings, DELIVERED if publish else EVALUATED)
        if execution.failed:
            announcement.failed(execution.verdict)
            return Failed(message=execution.verdict, data=execution.listing)
        stage = study_stage(tags)
        execution.made[stage.key] = _performed(stage, partial(study_task, list(tags), unique_title(stage)), settings)
        for tag in execution.tags if publish else ():
            published = publication(tag)
            execution.made[published.key] = _performed(
                published, partial(TASKS[published.kind], tag, published.key, unique_title(published)), settings
            )
        verdict = f"studied: {', '.join(execution.tags)}" + ("; published" if publish else "")
        announcement.completed(verdict)
    return Completed(message=verdict, data=execution.listing)


def _performed(stage: Stage, task: Callable[..., Any], settings: RunSettings) -> dict[str, Any]:
    """The reference of a stage, made in a thread, since this one hears a cancellation. Raises what the task raised."""
    with StageThreads[State[Any]](settings.grace_seconds, supervision()) as threads:
        threads.start(stage.key, partial(task, return_state=True))
        reference: dict[str, Any] = threads.next_ended()[1].result()
    return reference
