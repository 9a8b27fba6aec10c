"""Where shard groups are packed: in threads of this process, or on the workers of a Dask or Ray cluster.

Both are Prefect task runners: each group is a task run of the flow run that wants it. A group has a key, a lease and
an artifact of its own, so who packs it cannot change it, and only what is missing is packed.

A stop reaches the child of a group that is packed here as it reaches every stage. On a cluster, groups that wait are
withdrawn. Of those under way, Dask packs each to its end, and the next run finds its artifact; Ray interrupts them:
each ends its child and releases its lease.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from artifacts.errors import StoreError
from artifacts.store import Store
from core.planning.stage import Stage
from core.planning.title import unique_title
from tasks.pack import pack, pack_on_worker
from tasks.pack_cluster import PackCluster
from tasks.perform import StageInterrupted, StageStopped
from tasks.settings import RunSettings, SettingsError
from tasks.stage_task import run_display
from tasks.stopping import stop_event

CORES_OF_A_PACKER = 4  # it tokenises on all there are; the thread that fills rows is what another one saves
FEWEST_PACKERS = 2  # one tokenises while the other starts, reads, or commits
CONNECT_SECONDS = 10.0
POLL_SECONDS = 0.2

Withdraw = Callable[[Any], None]  # takes back a future of its cluster
Connection = tuple[TaskRunner[Any], Withdraw, int]


class Packing(Protocol):
    """An open task runner for shard groups. Its methods are called from many threads."""

    @property
    def at_once(self) -> int:
        """How many groups to hand over at the same time."""

    def pack(self, tag: str, stage: Stage, wait_for: Sequence[State[Any]]) -> State[Any]:
        """Bring about a group of `tag`; the state in which its task run ended. It is shown to follow `wait_for`."""


@contextmanager
def open_packing(settings: RunSettings, store: Store, groups: int) -> Iterator[Packing]:
    """Yield what packs `groups` groups into `store`; none needs no cluster.

    Raises `SettingsError` when the cluster of the settings does not answer, or the package for it is missing.
    """
    cluster = settings.pack_cluster
    if cluster is None or not groups:
        at_once = settings.packers or max(FEWEST_PACKERS, (os.cpu_count() or 1) // CORES_OF_A_PACKER)
        with ThreadPoolTaskRunner[Any](max_workers=at_once) as threads:
            yield LocalPacking(threads, at_once)
        return
    with ExitStack() as stack:
        runner, withdraw, size = _connected(cluster, stack)
        yield ClusterPacking(
            at_once=settings.packers or max(1, size),
            cluster=cluster,
            settings=replace(settings, store_url=store.url),
            store=store,
            runner=runner,
            withdraw=withdraw,
        )


@dataclass(frozen=True)
class LocalPacking:
    """Threads of this process, each with a child process that packs."""

    runner: TaskRunner[Any]
    at_once: int

    def pack(self, tag: str, stage: Stage, wait_for: Sequence[State[Any]]) -> State[Any]:
        """See `Packing`. A stop needs no word here: the thread has this context, and with it the event."""
        parameters = {"tag": tag, "key": stage.key, "title": unique_title(stage), "devices": None}
        future = self.runner.submit(pack, parameters, wait_for=wait_for)  # type: ignore[arg-type]
        future.wait()
        state: State[Any] = future.state
        return state


@dataclass(frozen=True, kw_only=True)
class ClusterPacking:
    """The workers of a running cluster, each with child processes that pack."""

    at_once: int
    cluster: PackCluster
    settings: RunSettings  # what a worker is told of them holds no secret
    store: Store
    runner: TaskRunner[Any]
    withdraw: Withdraw

    def pack(self, tag: str, stage: Stage, wait_for: Sequence[State[Any]]) -> State[Any]:
        """See `Packing`. Raises `StageStopped` once stopping was asked for and the group is out of our hands."""
        title, display = unique_title(stage), run_display()
        display.begin(title)
        ending, seconds = "stopped", 0.0
        try:
            state = self._end_of(self._submit(stage, title, wait_for), stage)
            ending = "failed"
            if state.is_completed():
                reference = state.result()
                ending, seconds = reference["state"], reference["seconds"]
            return state
        finally:
            display.end(title, ending, seconds, f"by {self.cluster.address}")

    def _submit(self, stage: Stage, title: str, wait_for: Sequence[State[Any]]) -> Any:
        """The future of the task run; its worker reports to the Prefect server of this run."""
        parameters = {"stage": stage, "settings": self.settings, "title": title}
        api = {} if PREFECT_API_URL.value() else {PREFECT_API_URL: str(get_client(sync_client=True).api_url)}
        with temporary_settings(api):
            return self.runner.submit(pack_on_worker, parameters, wait_for=wait_for)  # type: ignore[arg-type]

    def _end_of(self, future: Any, stage: Stage) -> State[Any]:
        withdrawn = False
        while True:
            if stop_event().is_set() and not withdrawn:
                withdrawn = True
                self.withdraw(future.wrapped_future)
            try:
                future.result(timeout=POLL_SECONDS, raise_on_failure=False)
            except TimeoutError:
                continue
            except Exception as error:
                if withdrawn:
                    raise StageStopped(f"{stage.address}: withdrawn from {self.cluster.address}") from error
                return _failed(self._refused(stage, error))
            if withdrawn:
                raise StageStopped(f"{stage.address}: stopped on {self.cluster.address}")
            return self._seen(future.state, stage)

    def _refused(self, stage: Stage, error: Exception) -> StageInterrupted:
        return StageInterrupted(
            f"{stage.address}: no worker of {self.cluster.address} brought it to an end: {str(error) or repr(error)}; "
            "each needs this version of miniseries and must reach the store and, at PREFECT_API_URL, the Prefect server"
        )

    def _seen(self, state: State[Any], stage: Stage) -> State[Any]:
        """`state`, failed when its artifact is not in this run's store: the worker has another one of the same name."""
        if not state.is_completed() or self.store.manifest(stage.address) is not None:
            return state
        return _failed(
            StoreError(
                f"{stage.address}: {self.cluster.address} packed it, but {self.store.url} has no manifest of it here; "
                "name a store that all workers share in MINISERIES_STORE: s3://bucket/prefix, or a shared folder"
            )
        )


def _failed(error: Exception) -> State[Any]:
    return Failed(message=str(error), data=error)


def _connected(cluster: PackCluster, stack: ExitStack) -> Connection:
    """A task runner that is open until `stack` is closed, what takes back its futures, and how many run at once."""
    connect = _dask if cluster.kind == "dask" else _ray
    try:
        return connect(cluster, stack)
    except ImportError as error:
        raise SettingsError(
            f"packing on {cluster.address} (MINISERIES_PACK_CLUSTER) needs prefect-{cluster.kind}, which is not "
            f"installed; pip install 'miniseries[{cluster.kind}]' here and where its workers run"
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SettingsError(
            f"the {cluster.kind} cluster at {cluster.address} (MINISERIES_PACK_CLUSTER) does not answer: {reason}; "
            "start its scheduler, or unset the variable to pack on this machine"
        ) from error


def _dask(cluster: PackCluster, stack: ExitStack) -> Connection:
    from prefect_dask.task_runners import DaskTaskRunner

    _require_listener(cluster)
    runner = stack.enter_context(
        DaskTaskRunner(address=cluster.address, client_kwargs={"timeout": CONNECT_SECONDS, "name": "miniseries"})
    )
    stack.callback(runner.client.close)  # connects here, not at the first group
    return runner, lambda future: future.cancel(), sum(runner.client.nthreads().values())


def _ray(cluster: PackCluster, stack: ExitStack) -> Connection:
    import ray
    from prefect_ray.task_runners import RayTaskRunner

    _require_listener(cluster)
    handler = signal.getsignal(signal.SIGTERM)
    runner = stack.enter_context(RayTaskRunner(address=cluster.address))
    signal.signal(signal.SIGTERM, handler)  # Ray sets one that exits, and no stage would checkpoint
    return runner, ray.cancel, int(ray.cluster_resources().get("CPU", 0))


def _require_listener(cluster: PackCluster) -> None:
    """Raise `OSError` soon, where the cluster's own client would try for long and say much."""
    socket.create_connection((cluster.host, cluster.port), CONNECT_SECONDS).close()
