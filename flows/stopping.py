"""Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 (Slurm's warning) mean the same: checkpoint, then stop. A second is the same one.

The exit code is 128 + the signal's number: stopped, the same command continues.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """The run was asked to stop by a signal. Not an `Exception`: nothing on the way may take it for a failure."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextmanager
def stop_once() -> Iterator[None]:
    """Raise `Stopped` in the main thread at the first such signal and ignore the following, until the block ends.

    Who was started by `nohup` asked that SIGHUP be ignored, and it stays so.
    """
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)

    def handle(number: int, _frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
