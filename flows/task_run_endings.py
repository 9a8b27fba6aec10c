"""What the Prefect UI shows of task runs whose process ended before it could tell how they did: not Running for ever.

The states of a task run reach the server as events, which a process that is killed takes with it. Who is left tells the
end instead: the supervisor of the flow run, by hooks that it calls once the process is gone; the next attempt of the
same flow run, after a machine was lost; and `miniseries`, when it puts runs back into the queue.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from prefect import Flow, runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Crashed

from tasks.dispatch.gpu_pool import DEPLOYMENT

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State, TaskRun

OPEN = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
CANCELLED = "its flow run was cancelled; what was checkpointed is kept"
CRASHED = "its process is gone; what was checkpointed is kept"
ARRIVAL_SECONDS = 3.0  # for what the process told in its last moment to arrive
POLL_SECONDS = 0.3
REQUEST_SECONDS = 10.0

log = logging.getLogger("miniseries.flows")


def end_as_cancelled(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """A hook: the process of a cancelled flow run has ended."""
    _end(flow_run.id, _attempts(flow_run), Cancelled(message=CANCELLED), ARRIVAL_SECONDS)


def end_as_crashed(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """A hook: the process of a flow run has died."""
    _end(flow_run.id, _attempts(flow_run), Crashed(message=CRASHED), ARRIVAL_SECONDS)


def end_those_of_earlier_attempts() -> None:
    """In the body of a flow, before its first task: nobody called a hook when a machine was lost."""
    attempt = runtime.flow_run.run_count
    if attempt > 1:
        _end(UUID(runtime.flow_run.id), attempt - 1, Crashed(message=CRASHED), 0.0)


def end_task_runs(
    client: SyncPrefectClient, flow_run: UUID, attempts: int, ending: State[Any], patience_seconds: float
) -> None:
    """Give `ending` to each task run of the first `attempts` at `flow_run` that is open after `patience_seconds`."""
    deadline = time.monotonic() + patience_seconds
    while (left := _open(client, flow_run, attempts)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    for task_run in left:
        client.set_task_run_state(task_run.id, ending, force=True)


def _attempts(flow_run: FlowRun) -> int:
    """Those that a hook may speak of: who supervises a run was told its count before this attempt was counted.

    A run that crashed may be at its next attempt before the hook of the last one is called.
    """
    return flow_run.run_count + 1


def _end(flow_run: UUID, attempts: int, ending: State[Any], patience_seconds: float) -> None:
    """What is shown is not worth a run: a server that gives no answer is a warning, one that ends with us not asked."""
    if not PREFECT_API_URL.value():
        return
    try:
        with get_client(sync_client=True, httpx_settings={"timeout": REQUEST_SECONDS}) as client:
            end_task_runs(client, flow_run, attempts, ending, patience_seconds)
    except httpx.HTTPError as error:
        log.warning("the task runs of flow run %s that have no end could not be told theirs: %s", flow_run, error)


def _open(client: SyncPrefectClient, flow_run: UUID, attempts: int) -> list[TaskRun]:
    """A GPU job's place in the graph is not among them: it shows a flow run, which may go on."""
    found = client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run])),
        task_run_filter=TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=OPEN))),
    )
    return [
        task_run for task_run in found if task_run.task_key != DEPLOYMENT and task_run.flow_run_run_count <= attempts
    ]
