"""Every night: read a share of the store again, make one small training stage again, say what could be collected.

Damage, or a stage that comes out otherwise than it did, fails the flow run with one line. The report is an artifact of
the flow run, and a record in the store.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from prefect import flow, runtime
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from artifacts.redaction import redact
from core.maintenance.report import GarbageReport, Maintenance, Recomputation, keep_report
from core.maintenance.rotation import Share
from flows.crash_loop import require_no_crash_loop
from flows.notifications import announced
from tasks.maintenance import Night, garbage_task, recompute_task, verify_task
from tasks.settings import settings_from_environment

KEY = "maintenance"

Positive = Annotated[float, Field(gt=0)]
PartT = TypeVar("PartT")


def _run_name() -> str:
    return f"night of {runtime.flow_run.scheduled_start_time:%Y-%m-%d}"


@flow(name="maintenance", flow_run_name=_run_name, persist_result=False)
def maintenance(
    verify_gb: Positive = 50.0,
    recompute_minutes: Annotated[float, Field(ge=0)] = 10.0,
    seed: int | None = None,
    window_days: Annotated[float, Field(ge=0)] = 7.0,
    collect: bool = False,
) -> State[dict[str, Any]]:
    """Verify `verify_gb` of the store; make a training stage of at most `recompute_minutes` again, chosen by `seed`
    (none: by the day); with `collect`, delete what `miniseries gc` marked more than `window_days` ago.

    Its data: the report. Failed when there is anything for a person to look at.
    """
    night = Night(
        verify_bytes=verify_gb * 1e9,
        recompute_seconds=recompute_minutes * 60,
        seed=seed,
        window_days=window_days,
        collect=collect,
    )
    errors: list[str] = []
    with announced([]) as announcement:
        require_no_crash_loop()
        done = Maintenance(
            share=_part(verify_task(night, return_state=True), Share, "verification", errors),
            recomputation=_part(
                recompute_task(night, return_state=True), Recomputation, "making a stage again", errors
            ),
            garbage=_part(garbage_task(night, return_state=True), GarbageReport, "looking for garbage", errors),
            errors=tuple(errors),
        )
        keep_report(settings_from_environment().open_store(), done)
        create_markdown_artifact(done.markdown(), key=KEY, description=done.verdict)
        (announcement.failed if done.problems else announcement.completed)(done.verdict)
    ending = Failed if done.problems else Completed
    return ending(message=done.verdict, data=done.listing())


def _part(state: State[Any], kind: type[PartT], name: str, errors: list[str]) -> PartT | None:
    """What a task returned; the line of one that failed goes to `errors`, so that the others are done all the same."""
    ended = state.result(raise_on_failure=False)
    if isinstance(ended, kind):
        return ended
    if isinstance(ended, Exception):
        errors.append(f"{name}: {redact(' '.join(str(ended).split()))}")
        return None
    raise TypeError(f"{name} ended as {ended!r}")
