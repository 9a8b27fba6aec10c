"""Trying again what failed for a reason that passes.

Only for steps that look at what is there before they change it: when the answer to a change was lost, the next try
finds it made, and makes no second one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from core.stages.context import StageUnavailable

ResultT = TypeVar("ResultT")


class Passing(StageUnavailable):
    """A failure that passes; `wait_seconds` is how long the other side wants to be left alone, if it said so."""

    def __init__(self, message: str, wait_seconds: float | None = None) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often to try, and how long to wait in between: twice as long every time, or as long as we were told."""

    tries: int = 6
    first_seconds: float = 0.5
    longest_seconds: float = 300.0  # the window in which the Hub counts requests
    sleep: Callable[[float], None] = time.sleep

    def keep_trying(self, step: Callable[[], ResultT], say: Callable[[str], None]) -> ResultT:
        """Return what `step` returns; raises its last `Passing` once all tries are used, any other error at once."""
        for tried in range(self.tries - 1):
            try:
                return step()
            except Passing as error:
                wanted = self.first_seconds * 2**tried if error.wait_seconds is None else error.wait_seconds
                seconds = min(wanted, self.longest_seconds)
                say(f"trying again in {seconds:g} s: {error}")
                self.sleep(seconds)
        return step()
