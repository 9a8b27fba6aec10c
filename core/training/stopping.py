"""Being asked to stop: a signal sets a flag, and the loop stops at the end of its step.

SIGTERM (cancelled, preempted, a Slurm limit), SIGINT (Ctrl-C) and SIGUSR1 (a Slurm warning) mean the same. torchrun
and a supervisor may each deliver one, so repeated signals count as one.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from core.stages.early_signals import STOP_SIGNALS
from core.training.distributed import World


class Stopped(Exception):
    """Raised on every rank alike when one of them was asked to stop."""


@dataclass
class StopRequest:
    """Which signal asked us to stop, if one did."""

    signal_name: str | None = None

    @property
    def made(self) -> bool:
        """True once a signal has arrived."""
        return self.signal_name is not None

    def check(self, world: World) -> None:
        """Raise `Stopped` on all ranks when a signal has reached any; every rank must call this equally often."""
        if world.any(self.made):
            raise Stopped(self.signal_name or "a signal to another rank")


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turn the three signals into a `StopRequest` while the block runs; main thread only, as Python demands."""
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        request.signal_name = request.signal_name or signal.Signals(number).name

    before = {number: signal.signal(number, note) for number in STOP_SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
