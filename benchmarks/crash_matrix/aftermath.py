"""What the world does after a fault: stopped processes go on, servers come back."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import psutil

from artifacts.address import Address
from benchmarks.crash_matrix.scene import Scene


def wake_after_commit(scene: Scene) -> None:
    """Who was stopped goes on once another run has committed the stage."""
    scene.until("another run's commit", lambda: _count(scene, "commit") > 0)
    scene.go_on()


def wake_after_checkpoints(scene: Scene) -> None:
    """Who was stopped goes on while another run is in the middle of the stage."""
    scene.until("another run's checkpoints", lambda: _count(scene, "checkpoint") > 2)
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


def _count(scene: Scene, what: str) -> int:
    """Events of the struck stage since the strike."""
    strike = scene.strike
    assert strike is not None
    return sum(
        event.what == what and event.folder == strike.folder and event.at > strike.at and event.run != strike.run
        for event in scene.trace
    )
