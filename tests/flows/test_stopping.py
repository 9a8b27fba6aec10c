"""Signals that stop a run, and the one that `nohup` asks to be left alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from flows.stopping import Stopped, stop_once


@pytest.fixture
def hangup_ignored() -> Iterator[None]:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def hangup_heard() -> Iterator[None]:
    """As for a process that nobody started by `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


@pytest.mark.usefixtures("hangup_heard")
@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_stops_the_following_are_ignored_and_handlers_come_back(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    steps: list[str] = []

    def work() -> None:
        with stop_once():
            try:
                os.kill(os.getpid(), number)
                steps.append("went on")
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                steps.append("saved")

    with pytest.raises(Stopped, match=number.name) as stopped:
        work()
    assert steps == ["saved"]
    assert stopped.value.exit_code == 128 + number
    assert [signal.getsignal(each) for each in SIGNALS] == before


@pytest.mark.usefixtures("hangup_ignored")
def test_nohup_is_respected() -> None:
    with stop_once():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
