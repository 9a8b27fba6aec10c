"""One case from start to end: runs begin together, a fault strikes one, the rest of the world reacts, all is judged.

A run that ended without success is started again with the same command, as its user would do, until all succeeded.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from artifacts.store import Store
from benchmarks.crash_matrix.fault import DISK, FOLDER, JOB, MACHINE, PREFECT, RUNS, STORE, Fault, Strike
from benchmarks.crash_matrix.gpu_pool import deploy, start_worker
from benchmarks.crash_matrix.judge import Evidence, manifests, step_of, violations, weights
from benchmarks.crash_matrix.servers import BUCKET, PrefectServer, S3Server, s3_server, start_prefect
from benchmarks.crash_matrix.trace import Event, read_trace

ROOT = Path(__file__).parents[2]
INJECTION = Path(__file__).parent / "injection"
COMMAND = ("export", "crash_drope_25", "--layout", "native", "--phase", "base")
UNDER_FIRE = ("recalibrate", "export_native")  # stages that every case has yet to make
PATIENCE_SECONDS = 900.0  # only a hang lasts this long
AGAIN = 3  # times that the same command is given before a case counts as stuck
POLL_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What all cases share."""

    folder: Path
    store: Path  # everything but the stages under fire
    undisturbed: Mapping[str, str]  # artifact folder -> sha256 of its weights
    api: str  # PREFECT_API_URL of the server that cases share


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of the matrix."""

    death: str
    runs: int
    fault: Fault
    aftermath: Callable[[Scene], None] = lambda scene: None  # what the world does once the fault has struck
    store: Literal["folder", "s3"] = "folder"  # on S3 every run is on a machine of its own
    prefect: Literal["shared", "own", "embedded"] = "shared"
    small_disk: Literal["", "store", "cache"] = ""  # which folder is on a disk of its own, small enough to fill
    lease_seconds: float = 60.0
    gpu_pool: bool = False  # heavy stages are made by a worker of the GPU pool of a Prefect server of its own

    @property
    def name(self) -> str:
        """Unique among the rows."""
        return f"{self.death}, {self.place}, {self.runs}"

    @property
    def place(self) -> str:
        """Where the artifacts are, and who makes them."""
        return "folder, GPU pool" if self.gpu_pool else self.store


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a case came to: a row of the table."""

    death: str
    runs: int
    store: str
    shown: str  # of the run that was struck: how it ended and its last line
    resumed: str
    step: str  # from which the stage went on
    attempts: int  # at the stage that was under way
    wrong: list[str]
    seconds: float

    @property
    def name(self) -> str:
        """That of the case."""
        return f"{self.death}, {self.store}, {self.runs}"


@dataclass
class _Run:
    process: subprocess.Popen[bytes]
    number: int
    errors: Path

    @property
    def last_line(self) -> str:
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
    started: list[_Run] = field(default_factory=list)

    @property
    def trace(self) -> list[Event]:
        """What has happened so far."""
        return read_trace(self.folder)

    @property
    def strike(self) -> Strike | None:
        """The fault, once it has struck."""
        return Strike.read(self.folder)

    def start(self, number: int) -> _Run:
        """Start the run `number` of this case."""
        on_s3 = self.case.store == "s3"
        home = self.folder / (f"machine-{number}" if on_s3 else "machine")
        errors = self.folder / f"errors-{len(self.started)}"
        more = {
            "HOME": str(home),
            "XDG_CACHE_HOME": self.environment.get("XDG_CACHE_HOME", str(home / "cache")),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_DATA_HOME": str(home / "data"),
            **({MACHINE: f"machine-{number}"} if on_s3 else {}),
        }
        home.mkdir(exist_ok=True)
        with (self.folder / "output").open("ab") as output, errors.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.crash_matrix.program", *COMMAND],
                cwd=ROOT,
                env={**self.environment, **more},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=sink,
                start_new_session=True,
            )
        run = _Run(process, number, errors)
        self.started.append(run)
        return run

    def start_worker(self) -> None:
        """Start the worker of the GPU pool, again if need be."""
        assert self.prefect is not None
        environment = {**self.environment, JOB: "yes", "HOME": str(self.folder / "node")}
        self.worker = start_worker(self.prefect.api, environment, self.folder)

    def until(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait for it; `Stuck` when it does not happen."""
        deadline = time.monotonic() + PATIENCE_SECONDS
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
            _send(process, signal.SIGCONT)


class Stuck(Exception):
    """Something that must happen did not."""


def play(case: Case, prepared: Prepared, folder: Path) -> Result:
    """Play a case in the new folder `folder`, and judge it."""
    began = time.monotonic()
    folder.mkdir(parents=True)
    wrong: list[str] = []
    with _scene(case, prepared, folder) as scene:
        struck: _Run | None = None
        try:
            struck = _first_act(scene)
            again = _again(scene)
        except Stuck as stuck:
            wrong.append(f"stuck: {stuck}")
            again = 0
        wrong += _left_behind(scene)
        if struck is None:
            wrong.append("the fault did not strike")
        if scene.s3 is not None:
            scene.s3.get_folder("store", scene.store)
        evidence = Evidence(
            trace=scene.trace,
            store=scene.open_store(),
            before=scene.before,
            undisturbed=prepared.undisturbed,
        )
        wrong += violations(evidence)
        return Result(
            death=case.death,
            runs=case.runs,
            store=case.place,
            shown=_shown(struck),
            resumed=_resumed(scene, struck, again),
            step=_step(scene),
            attempts=_attempts(scene),
            wrong=wrong,
            seconds=round(time.monotonic() - began, 1),
        )


def prepare(folder: Path, api: str) -> Prepared:
    """Make everything once, nothing happening to it; cases begin without the stages that they are about."""
    undisturbed, store = folder / "undisturbed", folder / "prepared"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.crash_matrix.program", *COMMAND],
        cwd=ROOT,
        env={**_environment(api, str(undisturbed), {}), "HOME": str(folder / "home")},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"the undisturbed run failed: {done.stderr}")
    shutil.copytree(undisturbed, store, ignore=lambda within, names: UNDER_FIRE if Path(within) == undisturbed else ())
    trained = weights(Store.open(str(undisturbed), folder / "judge"))
    return Prepared(folder=folder, store=store, undisturbed=trained, api=api)


def _first_act(scene: Scene) -> _Run | None:
    """Start all runs, wait for the fault and what follows from it, and for their ends; the run that was struck."""
    for number in range(scene.case.runs):
        scene.start(number)
    runs = list(scene.started)
    scene.until("the fault", lambda: scene.strike is not None or all(run.process.poll() is not None for run in runs))
    if scene.strike is not None:
        scene.case.aftermath(scene)
    scene.until("the end of the runs", lambda: all(run.process.poll() is not None for run in runs))
    strike = scene.strike
    if strike is None:
        return None
    return next((run for run in runs if run.process.pid == strike.run), runs[0])  # which waits for a GPU job


def _again(scene: Scene) -> int:
    """Give the same command again to each run that did not succeed; how often that took for the slowest."""
    if scene.case.small_disk:
        for filler in (scene.folder / "small").glob("filler"):
            filler.unlink()
    most = 0
    for failed in [run for run in scene.started if run.process.returncode != 0]:
        for times in range(1, AGAIN + 1):
            run = scene.start(failed.number)
            scene.until("the end of a run", lambda run=run: run.process.poll() is not None)  # type: ignore[misc]
            most = max(most, times)
            if run.process.returncode == 0:
                break
        else:
            raise Stuck(f"the same command, given {AGAIN} times: {run.last_line}")
    return most


def _left_behind(scene: Scene) -> list[str]:
    """Processes that live on although every run has ended; they are ended. A worker would go on for ever."""
    if scene.worker is not None:
        scene.worker.kill()
        scene.worker.wait()
    try:
        scene.until("the end of all processes", lambda: not scene.processes())
    except Stuck:
        left = scene.processes()
        names = [" ".join(process.cmdline()[:6]) for process in left]
        for process in left:
            _send(process, signal.SIGKILL)
        return [f"{len(left)} processes were left: {'; '.join(names)}"]
    return []


def _shown(run: _Run | None) -> str:
    if run is None:
        return ""
    code = run.process.returncode
    if code is None:
        return "did not end"
    ending = signal.Signals(-code).name if code < 0 else f"exit {code}"
    return ending if code <= 0 or not run.last_line else f"{ending}: {run.last_line}"


def _resumed(scene: Scene, struck: _Run | None, again: int) -> str:
    """Who went on with the stage that was struck, and how soon."""
    strike = scene.strike
    if strike is None or struck is None:
        return ""
    later = [event for event in scene.trace if event.at > strike.at and event.folder == strike.folder]
    taken = next((event for event in later if event.what == "acquired"), None)
    made = next((event for event in scene.trace if event.what == "commit" and event.folder == strike.folder), None)
    if made is None:
        return "not at all"
    first = {run.process.pid for run in scene.started[: scene.case.runs]}
    if taken is None or made.at < taken.at:
        return "it was made already" if made.at < strike.at else "went on, nothing was lost"
    after = f"after {taken.at - strike.at:.1f} s"
    if taken.run == struck.process.pid:
        return f"by itself {after}"
    if taken.run in first:
        return f"taken over by another run {after}"
    if scene.case.gpu_pool:
        return f"by {'itself' if again == 0 else 'the same command'}, in another GPU job {after}"
    return f"same command{'' if again < 2 else f', {again} times'}"


def _step(scene: Scene) -> str:
    strike = scene.strike
    if strike is None:
        return ""
    events = [event for event in scene.trace if event.folder == strike.folder and event.at > strike.at]
    begun = any(event.what == "rank" for event in events)
    steps = [str(step_of(event)) for event in events if event.what == "continues"]
    return ", ".join(steps) if steps else ("from its beginning" if begun else "")


def _attempts(scene: Scene) -> int:
    folder = scene.strike.folder if scene.strike else ""
    return len({event.details["token"] for event in scene.trace if event.what == "rank" and event.folder == folder})


@contextmanager
def _scene(case: Case, prepared: Prepared, folder: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        prefect = None if case.prefect != "own" else start_prefect(folder / "prefect")
        api = {"shared": prepared.api, "embedded": None}.get(case.prefect, prefect.api if prefect else None)
        s3 = stack.enter_context(s3_server(folder / "s3.log")) if case.store == "s3" else None
        small = folder / "small"
        if case.small_disk:
            stack.enter_context(_small_disk(small))
        local = small / "store" if case.small_disk == "store" else folder / "store"
        if s3 is None:
            shutil.copytree(prepared.store, local)
        else:
            s3.put_folder(prepared.store, "store")
        url = str(local) if s3 is None else f"s3://{BUCKET}/store"
        environment = _environment(api, url, s3.environment() if s3 else {})
        environment |= {
            FOLDER: str(folder),
            RUNS: "1" if case.gpu_pool else str(case.runs),  # who wants a GPU job waits for it, not for a lease
            **case.fault.environment(),
            "MINISERIES_LEASE_SECONDS": str(case.lease_seconds),
            **({"XDG_CACHE_HOME": str(small / "cache"), "TMPDIR": str(folder)} if case.small_disk == "cache" else {}),
            **({DISK: str(small)} if case.small_disk else {}),
            **({"MINISERIES_DISPATCH": "deployment"} if case.gpu_pool else {}),
            **({PREFECT: str(prefect.process.pid)} if prefect else {}),
            **({STORE: str(s3.process.pid)} if s3 else {}),
        }
        scene = Scene(
            case=case,
            folder=folder,
            environment=environment,
            store=local,
            before=manifests(Store.open(str(prepared.store), folder / "judge")),
            prefect=prefect,
            s3=s3,
        )
        try:
            if prefect is not None and case.gpu_pool:
                deploy(prefect.api)
                scene.start_worker()
            yield scene
        finally:
            for process in scene.processes():
                _send(process, signal.SIGKILL)
            if scene.prefect is not None:
                scene.prefect.end()


def _environment(api: str | None, store: str, more: Mapping[str, str]) -> dict[str, str]:
    ours = ("MINISERIES_", "PREFECT_", "AWS_", "XDG_", "CRASH_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {
        **inherited,
        **({"PREFECT_API_URL": api} if api else {}),
        "PYTHONPATH": os.pathsep.join((str(INJECTION), str(ROOT))),
        "MINISERIES_STORE": store,
        "MINISERIES_CHECKPOINT_SECONDS": "0.001",
        "OMP_NUM_THREADS": "1",
        **more,
    }


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """A file system of its own, in memory. Raises `NotPermitted` where mounting is not."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        raise NotPermitted("mounting a small disk is not permitted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class NotPermitted(Exception):
    """This machine does not allow what a case needs."""


def _processes_of(case: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if process.environ().get(FOLDER) == str(case) and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
