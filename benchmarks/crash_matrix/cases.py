"""The rows of the matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from benchmarks.crash_matrix.aftermath import (
    cancel_and_retry,
    cancel_past_the_supervisor,
    cancel_run,
    restart_prefect,
    restart_worker,
    stop_waiting_run,
    store_returns_after,
    wake_after_checkpoints,
    wake_after_commit,
    wake_after_expiry,
)
from benchmarks.crash_matrix.case import Case
from benchmarks.crash_matrix.fault import Blow, Fault, Moment, Victim
from benchmarks.crash_matrix.scene import Scene

STAGE = "recalibrate/.*/"
SHORT_LEASE = 10.0
COUNTS = (1, 2, 3)

SAVED = Moment(role="rank", operation="create", path=STAGE + r"checkpoint\.json", when="after", count=3)
UNDECLARED = Moment(role="rank", operation="create", path=STAGE + r"checkpoint\.json", when="before", count=3)
LAST_SAVED = Moment(role="rank", operation="create", path=STAGE + r"progress/0*100-\d+/checkpoint\.json", when="after")
UPLOADING = Moment(role="rank", operation="upload", path=STAGE + "progress/", when="after", count=12)
RESULT_UPLOADING = Moment(role="run", operation="upload", path=STAGE + "files/", when="after", count=3)
COMMITTING = Moment(role="run", operation="create", path=STAGE + r"manifest\.json", when="before")
COMMITTED = Moment(role="run", operation="create", path=STAGE + r"manifest\.json", when="after")


def all_cases() -> list[Case]:
    """Every row, in the order of the table."""
    return [
        *_deaths(),
        *_requests(),
        *_around_the_commit(),
        *_servers(),
        *_zombies(),
        *_full_disks(),
        *_on_s3(),
        *_on_the_gpu_pool(),
        *_deployed(),
    ]


def _fault(moment: Moment, blow: Blow, *victims: Victim) -> Fault:
    return Fault(moment=moment, blow=blow, victims=victims)


def _deaths() -> Iterator[Case]:
    for runs in COUNTS:
        yield Case(death="SIGKILL of the training rank", runs=runs, fault=_fault(SAVED, "KILL", "rank"))
    for runs in (1, 2):
        yield Case(death="SIGKILL of torchrun", runs=runs, fault=_fault(SAVED, "KILL", "torchrun"))
    for runs in COUNTS:
        yield Case(death="SIGKILL of the run (supervisor)", runs=runs, fault=_fault(SAVED, "KILL", "run"))
    for runs in (1, 2):
        yield Case(
            death="SIGKILL of all processes of one run at once", runs=runs, fault=_fault(SAVED, "KILL", "family")
        )
    for runs in COUNTS:
        yield Case(
            death="machine loss: SIGKILL of all runs and their Prefect servers",
            runs=runs,
            fault=_fault(SAVED, "KILL", "everything"),
            prefect="embedded",
        )


def _requests() -> Iterator[Case]:
    for runs in COUNTS:
        yield Case(death="SIGTERM", runs=runs, fault=_fault(SAVED, "TERM", "run"))
    for runs in (1, 2):
        yield Case(death="SIGINT", runs=runs, fault=_fault(SAVED, "INT", "run"))
    yield Case(death="SIGTERM to all processes at once", runs=1, fault=_fault(SAVED, "TERM", "family"))


def _around_the_commit() -> Iterator[Case]:
    yield Case(
        death="SIGKILL of the rank amid the files of a checkpoint", runs=1, fault=_fault(UPLOADING, "KILL", "rank")
    )
    for runs in COUNTS:
        yield Case(
            death="SIGKILL of the rank between a checkpoint's files and its declaration",
            runs=runs,
            fault=_fault(UNDECLARED, "KILL", "rank"),
        )
    yield Case(death="SIGTERM after the last step, before the commit", runs=1, fault=_fault(LAST_SAVED, "TERM", "run"))
    for runs in COUNTS:
        yield Case(
            death="SIGKILL of the run between the last file and the manifest",
            runs=runs,
            fault=_fault(COMMITTING, "KILL", "run"),
        )
    for runs in COUNTS:
        yield Case(
            death="SIGKILL of the run between the manifest and the release of the lease",
            runs=runs,
            fault=_fault(COMMITTED, "KILL", "run"),
        )


def _servers() -> Iterator[Case]:
    for runs in (1, 2):
        yield Case(
            death="SIGKILL of the embedded Prefect server",
            runs=runs,
            fault=_fault(SAVED, "KILL", "prefect"),
            prefect="embedded",
            waiting_seconds=60.0,
        )
    yield Case(
        death="SIGKILL of the Prefect server, started again",
        runs=1,
        fault=_fault(SAVED, "KILL", "prefect"),
        prefect="own",
        aftermath=restart_prefect,
    )


def _zombies() -> Iterator[Case]:
    yield Case(
        death="SIGSTOP past the lease's expiry, continued, nobody else there",
        runs=1,
        fault=_fault(SAVED, "STOP", "family"),
        aftermath=wake_after_expiry,
        lease_seconds=SHORT_LEASE,
    )
    for runs in (2, 3):
        yield Case(
            death="zombie: SIGSTOP past the expiry, continued after another run's commit",
            runs=runs,
            fault=_fault(SAVED, "STOP", "family"),
            aftermath=wake_after_commit,
            lease_seconds=SHORT_LEASE,
        )
    yield Case(
        death="zombie amid a checkpoint, continued while another run trains",
        runs=2,
        fault=_fault(SAVED, "STOP", "family"),
        aftermath=wake_after_checkpoints,
        lease_seconds=SHORT_LEASE,
    )
    yield Case(
        death="zombie: the run alone is stopped, its rank trains on",
        runs=2,
        fault=_fault(SAVED, "STOP", "run"),
        aftermath=wake_after_commit,
        lease_seconds=SHORT_LEASE,
    )
    yield Case(
        death="zombie between its last check and the manifest",
        runs=2,
        fault=_fault(COMMITTING, "STOP", "run"),
        aftermath=wake_after_commit,
        lease_seconds=SHORT_LEASE,
    )


def _full_disks() -> Iterator[Case]:
    yield Case(
        death="the store's disk is full at a checkpoint, room is made later",
        runs=1,
        fault=_fault(SAVED, "FILL", "disk"),
        small_disk="store",
    )
    yield Case(
        death="the local disk is full at a checkpoint, room is made later",
        runs=1,
        fault=_fault(SAVED, "FILL", "disk"),
        small_disk="cache",
    )


def _on_s3() -> Iterator[Case]:
    yield _s3("SIGKILL of the training rank", 1, _fault(SAVED, "KILL", "rank"))
    for runs in COUNTS:
        yield _s3("machine loss: SIGKILL of all processes of one machine", runs, _fault(SAVED, "KILL", "family"))
    yield _s3("SIGTERM", 2, _fault(SAVED, "TERM", "run"))
    yield _s3(
        "SIGKILL of the rank between a checkpoint's files and its declaration", 1, _fault(UNDECLARED, "KILL", "rank")
    )
    for runs in (1, 2):
        yield _s3("SIGKILL of the run amid the upload of its files", runs, _fault(RESULT_UPLOADING, "KILL", "run"))
    yield _s3("SIGKILL of the run between the last file and the manifest", 2, _fault(COMMITTING, "KILL", "run"))
    yield _s3(
        "SIGKILL of the run between the manifest and the release of the lease", 2, _fault(COMMITTED, "KILL", "run")
    )
    yield Case(
        death="zombie: SIGSTOP past the expiry, continued after another run's commit",
        runs=2,
        store="s3",
        fault=_fault(SAVED, "STOP", "family"),
        aftermath=wake_after_commit,
        lease_seconds=SHORT_LEASE,
    )
    yield _store_away("the store gives no answer for 3 s", 1, 3.0, 60.0)
    for runs in (1, 2):
        yield _store_away("the store gives no answer for longer than the lease", runs, 2 * SHORT_LEASE, SHORT_LEASE)


def _on_the_gpu_pool() -> Iterator[Case]:
    yield _pooled("SIGKILL of the training rank", 1, _fault(SAVED, "KILL", "rank"))
    for runs in (1, 2):
        yield _pooled("SIGKILL of the GPU job's flow process", runs, _fault(SAVED, "KILL", "run"))
    yield _pooled("SIGKILL of the worker, started again", 1, _fault(SAVED, "KILL", "worker"), restart_worker)
    yield _pooled("SIGTERM of the worker, started again", 1, _fault(SAVED, "TERM", "worker"), restart_worker)
    yield _pooled(
        "loss of the GPU node: SIGKILL of worker, job and rank; another worker",
        1,
        _fault(SAVED, "KILL", "node"),
        restart_worker,
        waiting_seconds=100.0,
    )
    yield _pooled("SIGKILL of the Prefect server, started again", 1, _fault(SAVED, "KILL", "prefect"), restart_prefect)
    for runs in (1, 2):
        yield _pooled("SIGTERM of one waiting run", runs, _fault(SAVED, "STOP", "rank"), stop_waiting_run)
    yield _pooled("`prefect flow-run cancel` of the GPU job", 1, _fault(SAVED, "STOP", "rank"), cancel_run)
    yield _pooled("SIGKILL of the GPU job's supervisor", 1, _fault(SAVED, "KILL", "supervisor"))
    yield _pooled(
        "`prefect flow-run cancel` of the GPU job, whose supervisor hangs",
        1,
        _fault(SAVED, "STOP", "rank", "supervisor"),
        cancel_past_the_supervisor,
        waiting_seconds=30.0,
    )
    yield _pooled("SIGKILL of the training rank", 1, _fault(SAVED, "KILL", "rank"), store="s3")
    yield _pooled("SIGKILL of the GPU job's flow process", 1, _fault(SAVED, "KILL", "run"), store="s3")


def _deployed() -> Iterator[Case]:
    for runs in (1, 2):
        yield _pooled("SIGKILL of the pipeline's process", runs, _fault(SAVED, "KILL", "run"), pool="cpu")
    yield _pooled(
        "`prefect flow-run cancel`, then `prefect flow-run retry`",
        1,
        _fault(SAVED, "STOP", "rank"),
        cancel_and_retry,
        pool="cpu",
    )
    yield _pooled(
        "SIGTERM of the worker, started again", 1, _fault(SAVED, "TERM", "worker"), restart_worker, pool="cpu"
    )


def _pooled(
    death: str,
    runs: int,
    fault: Fault,
    aftermath: Callable[[Scene], None] = lambda scene: None,
    store: Literal["folder", "s3"] = "folder",
    pool: Literal["gpu", "cpu"] = "gpu",
    waiting_seconds: float = 0.0,
) -> Case:
    return Case(
        death=death,
        runs=runs,
        fault=fault,
        aftermath=aftermath,
        store=store,
        prefect="own",
        pool=pool,
        lease_seconds=SHORT_LEASE,
        waiting_seconds=waiting_seconds,
    )


def _s3(death: str, runs: int, fault: Fault, store: Literal["s3"] = "s3") -> Case:
    return Case(death=death, runs=runs, fault=fault, store=store, lease_seconds=SHORT_LEASE)


def _store_away(death: str, runs: int, seconds: float, lease_seconds: float) -> Case:
    return Case(
        death=death,
        runs=runs,
        fault=_fault(SAVED, "STOP", "store"),
        store="s3",
        aftermath=store_returns_after(seconds),
        lease_seconds=lease_seconds,
        waiting_seconds=seconds,
    )
