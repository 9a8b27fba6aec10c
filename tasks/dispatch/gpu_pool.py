"""Heavy stages as runs of the deployment `gpu-job/h100`: one run for each stage and attempt, on the GPU work pool.

A run is known by its idempotency key, `<key of the stage>:<store>:<attempt>`: two flow runs that want one stage at once
get the same run. It shows as a subflow of who created it, and is cancelled with it; before, it is labelled as
withdrawn, so that others who want the stage know that no person cancelled it, and go on with the next attempt.
A pool takes the run that was scheduled first, so a stage that is due earlier (`tasks.dispatch.turn`) is scheduled so.
Until then it is shown as Queued: what is called Scheduled, the server calls Late after a few seconds, and it is not.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from uuid import UUID

import httpx
from prefect import Task, runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType, TaskRunResult, WorkPoolStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import TaskRunContext
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelling, Pending, Scheduled
from prefect.utilities.urls import url_for

from tasks.dispatch.cancellation import was_being_cancelled
from tasks.dispatch.jobs import Commission, Job, Phase, Report, SchedulerAway
from tasks.dispatch.turn import turn
from tasks.settings import SettingsError

DEPLOYMENT = "gpu-job/h100"
AGAIN = "run the same command again to continue from its last checkpoint"
HELD = "Held"  # name of the completed state of a run that found its stage held by another
QUEUED = "Queued"  # name of the state of a run that waits for a GPU
INTERRUPTED = "Interrupted"  # name of the failed state of a run that is worth another attempt
WITHDRAWN = "miniseries.withdrawn"  # label of a run that was cancelled with the run that wanted it
POOL_SECONDS = 30.0  # between two looks at the pool
HINDRANCES: Mapping[WorkPoolStatus | None, str] = {
    WorkPoolStatus.NOT_READY: ", which has no worker",
    WorkPoolStatus.PAUSED: ", which is paused",
}
ACTIVE = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING]


def require_server() -> None:
    """Raise `SettingsError` unless Prefect is told of a server that others can reach too."""
    if not PREFECT_API_URL.value():  # a variable that is set to nothing names no server either
        raise SettingsError(
            "MINISERIES_DISPATCH=deployment needs a Prefect server, and neither PREFECT_API_URL nor a Prefect profile "
            "names one; start one with `miniseries up`, or unset MINISERIES_DISPATCH to train here"
        )


@contextmanager
def open_gpu_pool() -> Iterator[GpuPool]:
    """The GPU pool of the Prefect server in use. Raises `SettingsError` when there is no server."""
    require_server()
    with get_client(sync_client=True) as client:
        yield GpuPool(client)


class GpuPool:
    """A `tasks.dispatch.jobs.Scheduler`."""

    def __init__(self, client: SyncPrefectClient) -> None:
        self._client = client
        self._place: UUID | None = None  # in the graph of our flow run, for a run that may not be there yet

    def check(self) -> None:
        """See `Scheduler`."""
        try:
            with asking():
                self._client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound as error:
            raise _not_deployed() from error
        except SchedulerAway as error:
            raise SettingsError(str(error)) from error

    def find(self, commission: Commission) -> Job | None:
        """See `Scheduler`."""
        with asking():
            active = self._runs(commission, ACTIVE)
            return self._job(max(active, key=_attempt)) if active else None

    def submit(self, commission: Commission) -> Job:
        """See `Scheduler`."""
        with asking():
            runs = self._runs(commission, list(StateType))
            if active := [run for run in runs if run.state_type in ACTIVE]:
                return self._job(max(active, key=_attempt))  # another flow run was faster
            attempt = 1 + max(map(_attempt, runs), default=0)
            self._place = _place(self._client, commission, attempt)
            try:
                return self._job(self._created(commission, attempt, self._place))
            except ObjectNotFound as error:
                raise _not_deployed() from error

    def _job(self, run: FlowRun) -> Job:
        """A run that another flow run created is shown by that: the place that we made for it goes."""
        if self._place is not None and run.parent_task_run_id != self._place:
            with suppress(ObjectNotFound):  # the last try may have done it, without hearing so
                self._client.delete_task_run(self._place)
        self._place = None
        return _GpuJob(self._client, run)

    def _runs(self, commission: Commission, types: list[StateType]) -> list[FlowRun]:
        """The newest runs of the stage in states of these types, for our store."""
        wanted = FlowRunFilter(
            tags=FlowRunFilterTags(all_=[_tag(commission)]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=types)),
        )
        runs = self._client.read_flow_runs(flow_run_filter=wanted, sort=FlowRunSort.EXPECTED_START_TIME_DESC)
        return [run for run in runs if (run.idempotency_key or "").startswith(_prefix(commission))]

    def _created(self, commission: Commission, attempt: int, place: UUID | None) -> FlowRun:
        """The run of this attempt, created now or by another flow run a moment ago."""
        return self._client.create_flow_run_from_deployment(
            self._client.read_deployment_by_name(DEPLOYMENT).id,
            parameters={"tag": commission.tag, "key": commission.stage.key},
            name=commission.assignment.title,
            state=Scheduled(scheduled_time=turn(), name=QUEUED, message="waits for a free worker of its pool"),
            tags=[_tag(commission), commission.tag, f"attempt:{attempt}"],
            idempotency_key=f"{_prefix(commission)}{attempt}",
            parent_task_run_id=place,
        )


class _GpuJob:
    """A `tasks.dispatch.jobs.Job`: one flow run."""

    def __init__(self, client: SyncPrefectClient, run: FlowRun) -> None:
        self._client = client
        self._run = run
        self._wanted_by = runtime.flow_run.id
        self.name = f"run {_attempt(run)} of {DEPLOYMENT} ({url_for(run) or run.id})"
        self._looked = float("-inf")  # at the pool
        self._said = ""

    def report(self) -> Report:
        """See `Job`."""
        try:
            with asking():
                run = self._client.read_flow_run(self._run.id)
                if _is_cancelled(self._client, run):
                    return _cancelled(run, withdrawn=_is_withdrawn(self._client, run))
                report = _report(run)
                hindrance = self._hindrance(run) if report.phase is Phase.WAITING else ""
                return replace(report, text=report.text + hindrance)
        except ObjectNotFound:
            return Report(phase=Phase.INTERRUPTED, text="somebody deleted it")

    def _hindrance(self, run: FlowRun) -> str:
        """Why nobody takes it, as far as the server knew when it was last asked."""
        if run.work_pool_name and time.monotonic() - self._looked >= POOL_SECONDS:
            self._looked = time.monotonic()
            self._said = HINDRANCES.get(self._client.read_work_pool(run.work_pool_name).status, "")
        return self._said

    def withdraw(self) -> bool:
        """See `Job`. What a living flow run created is its own; when that is gone, it belongs to who follows."""
        with asking():
            creator = _creator(self._client, self._run)
            owner = None if creator is None else str(creator.id)
            if owner != self._wanted_by and not (creator and creator.state and creator.state.is_final()):
                return False
            self._client.update_flow_run_labels(self._run.id, {WITHDRAWN: self._wanted_by or "a run without Prefect"})
            self._client.set_flow_run_state(self._run.id, Cancelling(message="the run that wanted it was stopped"))
        return True


@contextmanager
def asking() -> Iterator[None]:
    """Ask the server once: `SchedulerAway` when it gives no answer, so that a stop never waits for one."""
    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            yield
    except httpx.HTTPStatusError as error:
        if error.response.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
            raise
        raise SchedulerAway(_no_answer(error)) from error
    except httpx.HTTPError as error:
        raise SchedulerAway(_no_answer(error)) from error


def _no_answer(error: httpx.HTTPError) -> str:
    reason = f"HTTP {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else type(error).__name__
    return f"the Prefect server at {PREFECT_API_URL.value()} gives no answer ({reason})"


def _cancelled(run: FlowRun, *, withdrawn: bool) -> Report:
    """How a cancelled run stands."""
    if withdrawn:
        return Report(phase=Phase.WITHDRAWN, text="cancelled with the run that wanted it first")
    return Report(phase=Phase.CANCELLED, text=f"its GPU job was cancelled ({url_for(run) or run.id}); {AGAIN}")


def _report(run: FlowRun) -> Report:
    """How any other run stands, as its state tells."""
    message = " ".join((run.state.message or "").split()) if run.state else ""
    match run.state_type:
        case None | StateType.SCHEDULED | StateType.PENDING | StateType.PAUSED:
            return Report(phase=Phase.WAITING, text=f"in the queue of work pool {run.work_pool_name}")
        case StateType.RUNNING | StateType.CANCELLING:
            return Report(phase=Phase.RUNNING, text=f"{run.state_name} on work pool {run.work_pool_name}")
        case StateType.COMPLETED:
            return Report(phase=Phase.HELD if run.state_name == HELD else Phase.ENDED, text=message)
        case StateType.CRASHED:
            return Report(phase=Phase.INTERRUPTED, text=message)
        case StateType.FAILED:
            return Report(phase=Phase.INTERRUPTED if run.state_name == INTERRUPTED else Phase.FAILED, text=message)
    raise ValueError(f"{run.id} is {run.state_type}")


def _is_cancelled(client: SyncPrefectClient, run: FlowRun) -> bool:
    if run.state_type is StateType.CRASHED:
        return was_being_cancelled(client.read_flow_run_states(run.id))
    return run.state_type is StateType.CANCELLED


def _is_withdrawn(client: SyncPrefectClient, run: FlowRun) -> bool:
    """Whether a cancelled run was cancelled with the flow run that wanted it, by that or by the server in its place."""
    if WITHDRAWN in run.labels:
        return True
    creator = _creator(client, run)
    return creator is not None and creator.state_type in (StateType.CANCELLED, StateType.CANCELLING)


def _creator(client: SyncPrefectClient, run: FlowRun) -> FlowRun | None:
    """The flow run of which this one is a subflow."""
    if run.parent_task_run_id is None:
        return None
    try:
        place = client.read_task_run(run.parent_task_run_id)
        return None if place.flow_run_id is None else client.read_flow_run(place.flow_run_id)
    except ObjectNotFound:
        return None


def _place(client: SyncPrefectClient, commission: Commission, attempt: int) -> UUID | None:
    """The task run that stands for the GPU job in the graph of our flow run; the same one when asked for again."""
    stage_run = TaskRunContext.get()
    if stage_run is None or stage_run.task_run.flow_run_id is None:
        return None
    task = Task(name=DEPLOYMENT, fn=lambda: None)
    task.task_key = DEPLOYMENT
    place = client.create_task_run(
        task,
        flow_run_id=stage_run.task_run.flow_run_id,
        dynamic_key=f"{commission.stage.key}:{attempt}",
        name=f"run {attempt} of {DEPLOYMENT}: {commission.assignment.title}",
        state=Pending(),
        task_inputs={"__parents__": [TaskRunResult(id=stage_run.task_run.id)]},
    )
    return place.id


def _not_deployed() -> SettingsError:
    return SettingsError(
        f"the Prefect server at {PREFECT_API_URL.value()} has no deployment {DEPLOYMENT}, which "
        "MINISERIES_DISPATCH=deployment needs; `prefect --no-prompt deploy --all` in a checkout creates it"
    )


def _tag(commission: Commission) -> str:
    """By which people and we find the runs of a stage."""
    return f"stage:{commission.stage.key[:12]}"


def _prefix(commission: Commission) -> str:
    """Of the idempotency keys of the runs that make the stage in this store: one server may serve several stores."""
    store = hashlib.sha256(commission.assignment.settings.open_store().url.encode()).hexdigest()[:8]
    return f"{commission.stage.key}:{store}:"


def _attempt(run: FlowRun) -> int:
    return int((run.idempotency_key or ":0").rpartition(":")[2])
