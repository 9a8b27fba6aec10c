"""The work pools: `cpu`, where pipelines run and wait, and `h100`, where heavy stages have the GPUs.

A flow run is supervised by `prefect flow-run execute` instead of by the worker itself, which makes two things true
(facts on Prefect, 3.3, measured): a run can still be cancelled when its worker was killed, and a supervisor that is
asked to stop lets its flow checkpoint and puts the run back in the queue, where the worker's own way kills the flow and
leaves the run Running for ever. What a flow prints is not streamed through the worker, whose death would break the
pipe; its log lines reach the server, and the output of stages is in their own log files. A heartbeat every 30 s is what
the automations rely on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import WorkPool

PROCESS = "process"
CPU, GPU = "cpu", "h100"
CPU_SLOTS = 32  # pipelines that run or wait at once: all tags of the miniseries, and what looks after them
COMMAND = "prefect flow-run execute"
HEARTBEAT_SECONDS = 30
ENVIRONMENT = {
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "reschedule",
}


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A pool as it should be."""

    name: str
    slots: int  # flow runs at once
    description: str


@dataclass(frozen=True, kw_only=True)
class PoolFound:
    """A pool as it is."""

    name: str
    type: str
    slots: int | None
    created: bool


def pools(gpu_slots: int) -> list[Pool]:
    """The two pools."""
    return [
        Pool(name=CPU, slots=CPU_SLOTS, description="pipelines, which wait for heavy stages; stages without a GPU"),
        Pool(name=GPU, slots=gpu_slots, description="heavy stages, each with a share of the GPUs of its own"),
    ]


def ensure_pools(client: SyncPrefectClient, wanted: Sequence[Pool], *, own_server: bool) -> list[PoolFound]:
    """Create what is missing. A pool that exists is made as wanted on our own server, and left as it is on another."""
    return [_ensure(client, pool, own_server=own_server) for pool in wanted]


def _ensure(client: SyncPrefectClient, pool: Pool, *, own_server: bool) -> PoolFound:
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectAlreadyExists

    template = job_template()
    create = WorkPoolCreate(
        name=pool.name,
        type=PROCESS,
        description=pool.description,
        concurrency_limit=pool.slots,
        base_job_template=template,
    )
    try:
        return _as_it_is(client.create_work_pool(create), created=True)
    except ObjectAlreadyExists:
        found = client.read_work_pool(pool.name)
    if own_server and found.type == PROCESS:
        client.update_work_pool(
            pool.name, WorkPoolUpdate(concurrency_limit=pool.slots, base_job_template=template, is_paused=False)
        )
        found = client.read_work_pool(pool.name)
    return _as_it_is(found, created=False)


def job_template() -> dict[str, Any]:
    """Prefect's template of a process pool, with our command and environment as the defaults."""
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    variables = template["variables"]["properties"]
    variables["command"]["default"] = COMMAND
    variables["env"]["default"] = ENVIRONMENT
    variables["stream_output"]["default"] = False
    return template


def _as_it_is(pool: WorkPool, *, created: bool) -> PoolFound:
    return PoolFound(name=pool.name, type=pool.type, slots=pool.concurrency_limit, created=created)
