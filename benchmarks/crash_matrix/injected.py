"""What is added to every process of a case from outside: it notes what is done to the store, and strikes when told.

`injection/sitecustomize.py` calls `install` when Python starts. Nothing of it is in the product: it wraps the methods
of the two storages and of the leases.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any

import psutil

from benchmarks.crash_matrix.fault import (
    DISK,
    FOLDER,
    JOB,
    MACHINE,
    PREFECT,
    RUN,
    RUNS,
    STORE,
    Fault,
    Moment,
    Role,
    Strike,
)
from benchmarks.crash_matrix.trace import read_trace, record

CHECKPOINT = re.compile(r"(?P<folder>[^/]+/[^/]+)/progress/(?P<place>[^/]+)/checkpoint\.json")
MANIFEST = re.compile(r"(?P<folder>[^/]+/[^/]+)/manifest\.json")
PROGRAM = "benchmarks.crash_matrix.program"
WAIT_SECONDS = 150.0  # for the other runs to stand in line
FILLER = "filler"


def install() -> None:
    """Wrap the store of this process, if it is a run or a rank of a case."""
    role = _role()
    if role is None or FOLDER not in os.environ:
        return
    if PROGRAM in sys.orig_argv:
        os.environ[RUN] = str(os.getpid())
    case = Path(os.environ[FOLDER])
    watcher = _Watcher(case, role, Fault.from_environment())
    if role == "rank":
        specification = json.loads(Path(sys.orig_argv[-1]).read_text())
        folder = f"{specification['kind']}/{specification['name']}-{specification['key'][:12]}"
        record(case, "rank", folder, watcher.run, token=specification["token"])
    watcher.wrap_storages()
    watcher.wrap_leases()


def _role() -> Role | None:
    arguments = sys.orig_argv
    if "torch.distributed.run" in arguments or "core.stages" in arguments:
        return None
    if "RANK" in os.environ and "core.training" in arguments:
        return "rank"
    return "run" if PROGRAM in arguments or JOB in os.environ else None


class _Watcher:
    """Sees every operation of this process on the store."""

    def __init__(self, case: Path, role: Role, fault: Fault | None) -> None:
        self._case = case
        self._role = role
        self._fault = fault if fault is not None and fault.moment.role == role else None
        self._seen = 0
        self._lock = threading.Lock()

    @property
    def run(self) -> int:
        """Process id of the run or GPU job that this process belongs to; 0 before that has a stage to make."""
        return int(os.environ.get(RUN, "0"))

    def wrap_storages(self) -> None:
        """The folder's operations, and the bucket's where that is the store."""
        from artifacts.files import FilesInPlace
        from artifacts.folder import FolderStorage

        self._wrap_storage(FolderStorage)
        if os.environ["MINISERIES_STORE"].startswith("s3://"):
            from artifacts.bucket import BucketStorage

            self._wrap_storage(BucketStorage)
        withdraw = FilesInPlace.withdraw

        def watched(files: FilesInPlace, folder: str, attempt: str) -> None:
            self._record("removed", folder, path=f"{folder}/files/{attempt}")
            withdraw(files, folder, attempt)

        setattr(FilesInPlace, "withdraw", watched)  # noqa: B010 -- mypy lets no method be assigned

    def wrap_leases(self) -> None:
        """Who gets a lease, what it was before, and who has to wait."""
        from artifacts import lease, lease_record, process

        if name := os.environ.get(MACHINE):
            setattr(lease, "this_machine", lambda: process.Machine(name, f"boot of {name}"))  # noqa: B010
        acquire = lease.Leases.acquire

        def watched(leases: lease.Leases, address: Any, purpose: str, ttl: float) -> lease.HeldLease | Any:
            before = lease_record.read_record(leases._storage, address)
            result = acquire(leases, address, purpose, ttl)
            if not isinstance(result, lease.HeldLease):
                self._record("waits", address.folder)
                return result
            os.environ[RUN] = str(os.getpid())
            self._record(
                "acquired",
                address.folder,
                token=result.token,
                flow_run=os.environ.get("PREFECT__FLOW_RUN_ID", ""),
                released=before is None or before[0].released,
                expires_at=before[0].expires_at if before else 0.0,
                alive=self._living_ranks(address.folder, before[0].token) if before else [],
            )
            return result

        setattr(lease.Leases, "acquire", watched)  # noqa: B010

    def _wrap_storage(self, storage: type[Any]) -> None:
        for operation in ("create", "replace", "upload", "delete", "read"):
            setattr(storage, operation, self._watched(operation, getattr(storage, operation)))

    def _watched(self, operation: str, act: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(act)
        def watched(storage: Any, first: Any, *others: Any) -> Any:
            if operation == "delete":
                first = list(first)
            path = _path(operation, first, others)
            if operation == "delete":
                self._note_removal(first)
            self._strike_at(operation, "before", path)
            result = act(storage, first, *others)
            if operation in ("upload", "delete") or result is not None:
                self._note(operation, path, others)
                self._strike_at(operation, "after", path)
            return result

        return watched

    def _note(self, operation: str, path: str, others: tuple[Any, ...]) -> None:
        checkpoint = CHECKPOINT.fullmatch(path)
        if checkpoint and self._role == "rank" and operation in ("create", "read"):
            self._record("checkpoint" if operation == "create" else "continues", checkpoint["folder"], path=path)
        if (manifest := MANIFEST.fullmatch(path)) and operation == "create":
            self._record("commit", manifest["folder"], attempt=json.loads(others[0])["attempt"])

    def _note_removal(self, paths: Iterable[str]) -> None:
        for path in paths:
            if "/files/" in path or path.endswith(("manifest.json", "checkpoint.json")):
                self._record("removed", "/".join(path.split("/")[:2]), path=path)

    def _record(self, what: Any, folder: str, **details: object) -> None:
        record(self._case, what, folder, self.run, **details)

    def _living_ranks(self, folder: str, token: int) -> list[int]:
        """Process ids of the ranks that were started under `token`."""
        ranks = [event for event in read_trace(self._case) if event.what == "rank" and event.folder == folder]
        return [event.process for event in ranks if event.details["token"] == token and _lives(event.process)]

    def _strike_at(self, operation: str, when: str, path: str) -> None:
        if self._fault is None or not self._is_moment(self._fault.moment, operation, when, path):
            return
        folder = "/".join(path.split("/")[:2])
        self._await_others(folder)
        if Strike(at=time.monotonic(), run=self.run, folder=folder).publish(self._case):
            _strike(self._fault, self.run)

    def _is_moment(self, moment: Moment, operation: str, when: str, path: str) -> bool:
        if (operation, when) != (moment.operation, moment.when) or not re.search(moment.path, path):
            return False
        if (self._case / "strike.json").exists():
            return False
        with self._lock:
            self._seen += 1
            return self._seen == moment.count

    def _await_others(self, folder: str) -> None:
        """Until every other run stands in line for this artifact: then they compete."""
        deadline = time.monotonic() + WAIT_SECONDS
        wanted = int(os.environ[RUNS]) - 1
        while time.monotonic() < deadline:
            waiting = {
                event.run for event in read_trace(self._case) if event.what == "waits" and event.folder == folder
            }
            if len(waiting) >= wanted:
                return
            time.sleep(0.05)


def _path(operation: str, first: Any, others: tuple[Any, ...]) -> str:
    """The path that an operation is about; of several that are deleted, the first."""
    if operation == "upload":
        return str(others[0])
    return str(next(iter(first), "")) if operation == "delete" else str(first)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _strike(fault: Fault, run: int) -> None:
    """Deal the blow to every victim, to this process last."""
    if fault.blow == "FILL":
        _fill(Path(os.environ[DISK]) / FILLER)
        return
    number = signal.Signals[f"SIG{fault.blow}"]
    found = {process.pid for victim in fault.victims for process in _processes(victim, run)}
    for pid in sorted(found, key=lambda pid: (pid == os.getpid(), pid == run)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _processes(victim: str, run: int) -> list[psutil.Process]:
    """Who is meant, in the family of the run that is struck."""
    leader = psutil.Process(run)
    family = [leader, *leader.children(recursive=True)]
    match victim:
        case "run":
            return [leader]
        case "torchrun":
            return [member for member in family if "torch.distributed.run" in member.cmdline()]
        case "rank":
            return [member for member in family if _is_rank(member)]
        case "family":
            return family
        case "everything":
            return list(_of_case())
        case "prefect" if PREFECT in os.environ:
            server = psutil.Process(int(os.environ[PREFECT]))
            return [server, *server.children(recursive=True)]
        case "prefect":
            return [member for member in family if any("prefect.server" in word for word in member.cmdline())]
        case "worker":
            return [_worker_above(leader)]
        case "supervisor":
            return [parent for parent in leader.parents()[:1] if "execute" in parent.cmdline()]
        case "node":
            worker = _worker_above(leader)
            return [worker, *worker.children(recursive=True)]
        case "store":
            return [psutil.Process(int(os.environ[STORE]))]
    raise ValueError(victim)


def _worker_above(process: psutil.Process) -> psutil.Process:
    return next(parent for parent in process.parents() if "worker" in parent.cmdline())


def _is_rank(process: psutil.Process) -> bool:
    words = process.cmdline()
    return "core.training" in words and "torch.distributed.run" not in words


def _of_case() -> Iterable[psutil.Process]:
    """Every process that has this case's folder in its environment."""
    for process in psutil.process_iter():
        try:
            if process.environ().get(FOLDER) == os.environ[FOLDER]:
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue


def _fill(path: Path) -> None:
    """Write until the disk is full."""
    block = b"\0" * 4096
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(block)
        except OSError:
            return
