"""What the world does after a fault: stopped processes go on, servers come back."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from prefect.client.schemas.objects import StateType

from artifacts.address import Address
from benchmarks.crash_matrix.pools import person, runs_of
from benchmarks.crash_matrix.scene import Run, Scene

SETTLED_SECONDS = 6.0  # the worker too looks whether a cancelled run has ended, every 3 s, and calls it Cancelled again


def wake_after_commit(scene: Scene) -> None:
    """Who was stopped goes on once another run has committed the stage."""
    scene.until("another run's commit", lambda: _count(scene, "commit") > 0 or not _others(scene))
    scene.go_on()


def wake_after_checkpoints(scene: Scene) -> None:
    """Who was stopped goes on while another run is in the middle of the stage."""
    scene.until("another run's checkpoints", lambda: _count(scene, "checkpoint") > 2 or not _others(scene))
    scene.go_on()


def wake_after_expiry(scene: Scene) -> None:
    """Who was stopped goes on once its lease has expired, nobody else wanting it."""
    strike = scene.strike
    address = Address.parse(strike.folder) if strike else None
    assert address is not None
    store = scene.open_store()
    scene.until("the lease's expiry", lambda: store.holder_of(address) is None)
    scene.go_on()


def restart_prefect(scene: Scene) -> None:
    """The Prefect server starts again on its port and database."""
    assert scene.prefect is not None
    scene.prefect = scene.prefect.restarted()


def store_returns_after(seconds: float) -> Callable[[Scene], None]:
    """The S3 server, which was stopped, gives no answer for so long."""

    def returns(scene: Scene) -> None:
        assert scene.s3 is not None
        time.sleep(seconds)
        psutil.Process(scene.s3.process.pid).send_signal(signal.SIGCONT)

    return returns


def restart_worker(scene: Scene) -> None:
    """The worker of the GPU pool starts again once the last one has ended."""
    assert scene.worker is not None
    scene.worker.wait()
    scene.start_worker()


def stop_waiting_run(scene: Scene) -> None:
    """The first run, which waits for the GPU job, gets SIGTERM; the rank goes on once the request has come through."""
    scene.started[0].process.send_signal(signal.SIGTERM)
    _wake_when_told(scene)


def cancel_run(scene: Scene) -> None:
    """A person cancels the run on the pool; the rank goes on once the request has come through."""
    assert scene.prefect is not None
    for run in runs_of(scene.prefect.api, StateType.RUNNING):
        person(scene.prefect.api, "cancel", run, scene.folder)
    _wake_when_told(scene)


def cancel_and_retry(scene: Scene) -> None:
    """A person cancels the run on the pool, and retries it once it is cancelled."""
    assert scene.prefect is not None
    api = scene.prefect.api
    cancel_run(scene)
    scene.until("the end of the cancelled run", lambda: bool(runs_of(api, StateType.CANCELLED)))
    time.sleep(SETTLED_SECONDS)

    def goes_on() -> bool:
        for run in runs_of(api, StateType.CANCELLED):
            person(api, "retry", run, scene.folder)
        return bool(runs_of(api, StateType.RUNNING, StateType.COMPLETED))

    scene.until("the run that was retried", goes_on)


def cancel_past_the_supervisor(scene: Scene) -> None:
    """A person cancels the run, whose supervisor does not react and is killed for that by the worker."""
    assert scene.prefect is not None
    scene.until("the stop of the supervisor", lambda: bool(_stopped_supervisors(scene)))
    (supervisor,) = _stopped_supervisors(scene)
    for run in runs_of(scene.prefect.api, StateType.RUNNING):
        person(scene.prefect.api, "cancel", run, scene.folder)
    scene.until("the end of the supervisor", lambda: supervisor not in scene.processes())
    _wake_when_told(scene)


def _wake_when_told(scene: Scene) -> None:
    """Wake the rank, which was stopped, when SIGTERM waits for it, as if the request had come through at once.

    Or when the first run has ended without passing a request on.
    """
    first = scene.started[0].process
    scene.until("the request to stop", lambda: any(map(_is_told, scene.processes())) or first.poll() is not None)
    scene.go_on()


def _stopped_supervisors(scene: Scene) -> list[psutil.Process]:
    """Each is `prefect flow-run execute`."""
    found = []
    for process in scene.processes():
        try:
            if process.status() == psutil.STATUS_STOPPED and "execute" in process.cmdline():
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def _is_told(process: psutil.Process) -> bool:
    """Whether a stopped process will get SIGTERM."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return False
    pending = next(line for line in status.splitlines() if line.startswith("ShdPnd"))
    return bool(int(pending.split()[1], 16) & 1 << (signal.SIGTERM - 1))


def _others(scene: Scene) -> list[Run]:
    """The runs under way but for the struck one."""
    return [run for run in scene.started if not scene.is_struck(run) and run.process.poll() is None]


def _count(scene: Scene, what: str) -> int:
    """Events of the struck stage since the strike."""
    strike = scene.strike
    assert strike is not None
    return sum(
        event.what == what and event.folder == strike.folder and event.at > strike.at and event.run != strike.run
        for event in scene.trace
    )
