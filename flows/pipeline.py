"""The flow a person deploys and runs: one tag in, its published model out.

Every stage is one task run, named for people; what the store has shows as Cached. A stage whose artifact was
collected as garbage is skipped while everything made from it exists: the plan is read backwards.
"""

from __future__ import annotations

from typing import Any

from prefect import flow, runtime

from core.recipes.table import canonical_tag
from flows.crash_loop import require_no_crash_loop
from flows.execution import execute
from flows.notifications import announced
from flows.parameters import OneTag, Until
from flows.task_run_endings import end_as_cancelled, end_as_crashed, end_those_of_earlier_attempts
from tasks.settings import settings_from_environment


def _run_name() -> str:
    """`tiny_drope_50`, or `tiny_drope_50 until hf-sft`."""
    parameters = runtime.flow_run.parameters
    until = parameters.get("until")
    return canonical_tag(parameters["tag"]) + (f" until {until}" if until else "")


@flow(
    name="pipeline",
    flow_run_name=_run_name,
    persist_result=False,
    validate_parameters=False,
    on_cancellation=[end_as_cancelled],
    on_crashed=[end_as_crashed],
)
def pipeline(tag: OneTag, until: Until = None) -> dict[str, dict[str, Any]]:
    """Train, fine-tune, evaluate, convert and publish one model; every stage cached, every heavy one resumable.

    With `until`, such as `hf-sft`, no more is made than that deliverable needs, and nothing is published.
    Returns a small reference for each stage by key: its state, seconds, metrics and one-line summary. Raises what the
    first stage that failed raised, once everything that does not need it is there.
    """
    tag = canonical_tag(tag)
    with announced([tag]) as announcement:
        require_no_crash_loop()
        end_those_of_earlier_attempts()
        execution = execute([tag], settings_from_environment(), until)
        for error in execution.failed.values():
            announcement.failed(execution.verdict)
            raise error
        announcement.completed(execution.verdict)
    return execution.made
