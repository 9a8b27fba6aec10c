"""A stage that is told to stop before it has anything to save ends at once, with the code that means "run it again".

Importing torch and opening inputs takes seconds in which no training step has been taken; without this, a
preemption in that time would look like a crash.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)  # cancelled or preempted, Ctrl-C, a Slurm warning
RESUMABLE = 143  # what a shell reports for SIGTERM


def exit_when_told() -> None:
    """End this process as resumable on the first of `STOP_SIGNALS`, until a training loop takes them over."""
    for number in STOP_SIGNALS:
        signal.signal(number, _exit)


def _exit(number: int, frame: FrameType | None) -> None:
    os._exit(RESUMABLE)
