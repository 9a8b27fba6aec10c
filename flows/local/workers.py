"""The workers of this machine: one for the pool `cpu`, and for the pool `h100` one for each slot.

Each slot has a worker of its own, which takes one run at a time and sees an equal share of the GPUs, so that no two
heavy stages are on the same GPU.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from artifacts.process import Process
from flows.local.folder import InstallationError, InstallationFolder
from flows.local.pools import CPU, GPU, PROCESS, PoolFound
from flows.local.processes import lives, start_detached
from flows.local.server import last_line
from tasks.devices import VISIBLE, share

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

PATIENCE_SECONDS = 120.0  # to be online: 2 to 5 s is usual
POLL_SECONDS = 0.3


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker as it should be."""

    name: str
    pool: str
    at_once: int | None  # flow runs; None: as many as the pool allows
    devices: str | None  # CUDA_VISIBLE_DEVICES; None: as this shell has it


def workers(pools: Sequence[PoolFound], wanted: Collection[str], gpu_slots: int) -> list[Worker]:
    """Those to be here: for the wanted pools, if their runs are processes. Other types have their workers elsewhere."""
    host = socket.gethostname()
    here = {pool.name for pool in pools if pool.type == PROCESS and pool.name in wanted}
    found = [Worker(name=f"{host}-{CPU}", pool=CPU, at_once=None, devices=None)] if CPU in here else []
    if GPU in here:
        found += [
            Worker(name=f"{host}-{GPU}-{slot + 1}", pool=GPU, at_once=1, devices=share(slot, gpu_slots))
            for slot in range(gpu_slots)
        ]
    return found


def worker_log(folder: InstallationFolder, name: str) -> Path:
    """Where a worker writes."""
    return folder.log(f"worker-{name}")


def start_worker(folder: InstallationFolder, worker: Worker, environment: Mapping[str, str]) -> Process:
    """Start one, in the background."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--install-policy", "never"]
    command += ["--pool", worker.pool, "--name", worker.name, "--type", PROCESS]
    command += ["--limit", str(worker.at_once)] if worker.at_once else []
    visible = {VISIBLE: worker.devices} if worker.devices is not None else {}
    return start_detached(
        command, folder=folder.path, environment={**environment, **visible}, log=worker_log(folder, worker.name)
    )


def heartbeats(client: SyncPrefectClient, wanted: Sequence[Worker]) -> dict[str, datetime | None]:
    """When the server last heard from each; None: never."""
    heard: dict[str, datetime | None] = dict.fromkeys(worker.name for worker in wanted)
    for pool in {worker.pool for worker in wanted}:
        for found in client.read_workers_for_work_pool(pool):
            if found.name in heard:
                heard[found.name] = found.last_heartbeat_time
    return heard


def await_workers(
    client: SyncPrefectClient,
    folder: InstallationFolder,
    started: Mapping[Worker, Process],
    heard_before: Mapping[str, datetime | None],
) -> None:
    """Return when the server has heard from all of them anew.

    Raises `InstallationError` with the end of its log when one ended or took too long.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while silent := _silent(client, list(started), heard_before):
        for worker in silent:
            if not lives(started[worker], folder.mark):
                raise InstallationError(f"the worker {worker.name} ended: {last_line(worker_log(folder, worker.name))}")
            if time.monotonic() > deadline:
                raise InstallationError(
                    f"the worker {worker.name} did not report within {PATIENCE_SECONDS:.0f} s; "
                    f"see {worker_log(folder, worker.name)}"
                )
        time.sleep(POLL_SECONDS)


def _silent(
    client: SyncPrefectClient, wanted: Sequence[Worker], heard_before: Mapping[str, datetime | None]
) -> list[Worker]:
    heard = heartbeats(client, wanted)
    return [worker for worker in wanted if heard[worker.name] == heard_before[worker.name]]
