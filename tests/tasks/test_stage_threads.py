"""Work in threads under a main thread that may be interrupted: everything is told to stop and waited for."""

from __future__ import annotations

import signal
import threading

import pytest

from flows.stopping import Stopped, stop_once
from tasks.stage_threads import StageThreads
from tasks.stopping import stop_event


def wait_for_stop() -> str:
    stop_event().wait()
    return "stopped"


def test_results_come_as_works_end_and_those_that_run_beside_each_other_do() -> None:
    met = threading.Barrier(2, timeout=300)
    with StageThreads[str](1.0) as threads:
        for name in ("one", "other"):
            threads.start(name, lambda: str(met.wait()))
        ended = dict(threads.next_ended() for _ in range(2))
    assert set(ended) == {"one", "other"}


def test_what_a_work_raises_is_raised_where_its_end_is_awaited_and_stops_the_others() -> None:
    ended: list[str] = []

    def fail() -> str:
        raise BrokenPipeError

    def run() -> None:
        with StageThreads[str](60.0) as threads:
            threads.start("waits", lambda: ended.append(wait_for_stop()) or "")
            threads.start("fails", fail)
            threads.next_ended()

    with pytest.raises(BrokenPipeError):
        run()
    assert ended == ["stopped"]


def test_a_signal_that_only_the_main_thread_hears_stops_every_work_before_it_is_raised_on() -> None:
    saved: list[str] = []

    def checkpointing() -> str:
        signal.raise_signal(signal.SIGTERM) if not running.wait() else None
        saved.append(wait_for_stop())
        return "saved"

    def run() -> None:
        with stop_once(), StageThreads[str](60.0) as threads:
            for name in "abc":
                threads.start(name, checkpointing)
            threads.next_ended()

    running = threading.Barrier(3, timeout=300)
    with pytest.raises(Stopped, match="SIGTERM"):
        run()
    assert saved == ["stopped"] * 3


def test_a_work_that_cannot_stop_is_not_waited_for_beyond_its_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.stage_threads.RELEASE_SECONDS", 0.0)
    deaf = threading.Event()
    with StageThreads[bool](0.05) as threads:
        threads.start("deaf", deaf.wait)
    assert not deaf.is_set()
    deaf.set()


def test_outside_of_any_run_nothing_asks_to_stop() -> None:
    assert not stop_event().is_set()
