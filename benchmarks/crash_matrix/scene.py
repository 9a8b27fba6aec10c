"""A case under way: its processes, its servers, and what they have done so far."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from artifacts.store import Store
from benchmarks.crash_matrix.case import Case
from benchmarks.crash_matrix.fault import FOLDER, JOB, MACHINE, Strike
from benchmarks.crash_matrix.pools import PIPELINE, start_worker
from benchmarks.crash_matrix.program import TAG
from benchmarks.crash_matrix.servers import PrefectServer, S3Server
from benchmarks.crash_matrix.trace import Event, read_trace
from flows.local.pools import CPU, GPU

ROOT = Path(__file__).parents[2]
PROGRAM = "benchmarks.crash_matrix.program"
DEPLOYED = "benchmarks.crash_matrix.deployed"
COMMAND = ("export", TAG, "--layout", "native", "--phase", "base")  # which is `DELIVERABLE`
PATIENCE_SECONDS = 420.0  # for all of a case: only a hang lasts this long
POLL_SECONDS = 0.1


@dataclass
class Run:
    """A started command line."""

    process: subprocess.Popen[bytes]
    number: int
    errors: Path

    @property
    def last_line(self) -> str:
        """The last thing that it said to people."""
        lines = self.errors.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""


@dataclass
class Scene:
    """A case under way."""

    case: Case
    folder: Path
    environment: dict[str, str]
    store: Path  # in a folder; of a store in a bucket, where it is copied to in the end
    before: dict[str, str]
    prefect: PrefectServer | None = None  # of this case alone
    s3: S3Server | None = None
    worker: subprocess.Popen[bytes] | None = None
    started: list[Run] = field(default_factory=list)
    deadline: float = field(default_factory=lambda: time.monotonic() + PATIENCE_SECONDS)

    @property
    def trace(self) -> list[Event]:
        """What has happened so far."""
        return read_trace(self.folder)

    @property
    def strike(self) -> Strike | None:
        """The fault, once it has struck."""
        return Strike.read(self.folder)

    def is_struck(self, run: Run) -> bool:
        """Whether the fault struck this run."""
        return self.strike is not None and run.process.pid == self.strike.run

    def start(self, number: int) -> Run:
        """Start the run `number` of this case."""
        on_s3 = self.case.store == "s3"
        home = self.folder / (f"machine-{number}" if on_s3 else "machine")
        errors = self.folder / f"errors-{len(self.started)}"
        more = {
            "HOME": str(home),
            "XDG_CACHE_HOME": self.environment.get("XDG_CACHE_HOME", str(home / "cache")),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_DATA_HOME": str(home / "data"),
            "PREFECT_HOME": str(self.folder / "prefect"),  # of the embedded server, if there is one
            **({MACHINE: f"machine-{number}"} if on_s3 else {}),
        }
        home.mkdir(exist_ok=True)
        with (self.folder / "output").open("ab") as output, errors.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", *self._command()],
                cwd=ROOT,
                env={**self.environment, **more},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=sink,
                start_new_session=True,
            )
        run = Run(process, number, errors)
        self.started.append(run)
        return run

    def _command(self) -> list[str]:
        """What a run is started by."""
        if self.case.pool != "cpu":
            return [PROGRAM, *COMMAND]
        assert self.prefect is not None
        return [DEPLOYED, self.prefect.api, PIPELINE]

    def start_worker(self) -> None:
        """Start the worker of the case's pool, again if need be."""
        assert self.prefect is not None
        environment = {**self.environment, JOB: "yes", **({MACHINE: "node"} if self.case.store == "s3" else {})}
        pool, limit = (GPU, 1) if self.case.pool == "gpu" else (CPU, None)
        self.worker = start_worker(self.prefect.api, pool, environment, self.folder / "node", limit)

    def until(self, what: str, condition: Callable[[], bool], seconds: float | None = None) -> None:
        """Wait for it; `Stuck` when it does not happen within `seconds`, or before the time of the case is over."""
        deadline = self.deadline if seconds is None else time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise Stuck(what)
            time.sleep(POLL_SECONDS)

    def open_store(self) -> Store:
        """The store as the judge reads it, through a cache of its own."""
        return Store.open(str(self.store), self.folder / "judge")

    def processes(self) -> list[psutil.Process]:
        """Every process of this case that lives."""
        return list(_processes_of(self.folder))

    def go_on(self) -> None:
        """Wake all processes of this case that were stopped."""
        for process in self.processes():
            send(process, signal.SIGCONT)


class Stuck(Exception):
    """Something that must happen did not."""


def _processes_of(case: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if process.environ().get(FOLDER) == str(case) and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue


def send(process: psutil.Process, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended."""
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
