"""Many tags in one flow run: one merged plan, each shared stage once, forks beside their trunk.

A stage that fails leaves the tags that do not need it finished; the end of the run says which tags are, what failed,
and what was not started because of it.
"""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.crash_loop import require_no_crash_loop
from flows.execution import execute
from flows.notifications import announced
from flows.parameters import Tag
from flows.run_name import name_by_tags
from flows.task_run_endings import end_as_cancelled, end_as_crashed, end_those_of_earlier_attempts
from tasks.settings import settings_from_environment


@flow(
    name="miniseries",
    flow_run_name=name_by_tags,
    persist_result=False,
    validate_parameters=False,
    on_cancellation=[end_as_cancelled],
    on_crashed=[end_as_crashed],
)
def miniseries(tags: list[Tag]) -> State[dict[str, Any]]:
    """Train, fine-tune, evaluate, convert and publish many models; every stage cached, shared ones made once.

    Its data: {stages: {key: reference}, failed: {key: error}, blocked: {key: key of the failed stage}}.
    """
    with announced(tags) as announcement:
        require_no_crash_loop()
        end_those_of_earlier_attempts()
        execution = execute(tags, settings_from_environment())
        (announcement.failed if execution.failed else announcement.completed)(execution.verdict)
    ending = Failed if execution.failed else Completed
    return ending(message=execution.verdict, data=execution.listing)
