"""Ending workers and flow runs in the order that loses nothing (facts on Prefect, 3.3).

A worker that is asked to stop kills the flows it runs, so workers are killed first: the supervisor of each flow run
goes on without it. Then each supervisor is asked to stop: its flow checkpoints, and the run goes back to the queue.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import psutil

from flows.local.pools import COMMAND, CPU, GPU
from flows.local.processes import end, marked, still_alive, tell, words

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

FLOW_RUN_ID = "PREFECT__FLOW_RUN_ID"
WORKER_LABEL = "prefect.worker.name"  # of a flow run: who took it from the queue
KILL_SECONDS = 10.0  # for the kernel to take a killed process away
SUPERVISOR_SECONDS = 10.0  # that Prefect's supervisor takes beyond its flow, which it kills after 30
FLOW_SECONDS = 30.0


def supervisors(mark: str) -> dict[psutil.Process, UUID]:
    """The supervisor of each flow run under way, also of those whose worker is gone."""
    found = {}
    for process in marked(mark):
        if set(COMMAND.split()[1:]) <= set(words(process)) and (run := _flow_run(process)):
            found[process] = run
    return found


def end_workers(workers: Sequence[psutil.Process]) -> None:
    """Kill them; what they supervise goes on."""
    for worker in workers:
        tell(worker.kill)
    still_alive(workers, KILL_SECONDS)


def end_flow_runs(mark: str) -> list[UUID]:
    """Have every flow run checkpoint and stop; return which there were. What outlives the grace is killed."""
    under_way = supervisors(mark)
    end(under_way, FLOW_SECONDS + SUPERVISOR_SECONDS)
    return list(under_way.values())


def flow_runs(client: SyncPrefectClient, ids: Sequence[UUID]) -> list[FlowRun]:
    """What the server knows of them."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    return client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=list(ids))))


def abandoned(client: SyncPrefectClient, workers: Collection[str], alive: Collection[UUID]) -> list[FlowRun]:
    """Runs that these workers, which are gone, had taken from the queue, and that are neither ended nor alive.

    Their supervisor was killed, or had only just begun. The server would find out too, but late: after three missed
    heartbeats; and where it was restarted meanwhile and the run was young, it waits a quarter of an hour for the event
    that this one follows, which it has in its memory only.
    """
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
        WorkPoolFilter,
        WorkPoolFilterName,
    )
    from prefect.client.schemas.objects import StateType

    taken = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    found = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=taken))),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[CPU, GPU])),
    )
    return [run for run in found if run.labels.get(WORKER_LABEL) in workers and run.id not in alive]


def put_back(client: SyncPrefectClient, runs: Sequence[FlowRun]) -> None:
    """Put them back into the queue; what was being cancelled is cancelled. Their task runs ended with them."""
    from prefect.states import AwaitingRetry, Cancelled, Crashed

    from flows.task_run_endings import CRASHED, end_task_runs

    for run in runs:
        is_cancelling = run.state is not None and run.state.is_cancelling()
        end_task_runs(client, run.id, run.run_count, Crashed(message=CRASHED), patience_seconds=0.0)
        client.set_flow_run_state(run.id, Cancelled() if is_cancelling else AwaitingRetry(), force=True)


def _flow_run(process: psutil.Process) -> UUID | None:
    try:
        return UUID(process.environ().get(FLOW_RUN_ID, ""))
    except (ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
        return None
