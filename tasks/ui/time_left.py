"""How long something will still take, from what this process has done of it so far."""

from __future__ import annotations

import time
from collections.abc import Callable

from core.publishing.card_markdown import duration
from core.stages.report import Progress


class TimeLeft:
    """Told how far a stage is; what an earlier process did before does not make this one look faster."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[float, float] | None = None  # when, done

    def after(self, progress: Progress) -> float | None:
        """Seconds left; None while there is nothing to tell it from, and when all is done."""
        now = self._clock()
        if self._first is None:
            self._first = now, progress.done
        began, had = self._first
        done = progress.done - had
        left = progress.total - progress.done
        return left * (now - began) / done if done > 0 and left > 0 else None


def spoken(seconds: float | None) -> str:
    """` · about 12 min 3 s left`, or nothing."""
    return "" if seconds is None else f" · about {duration(seconds)} left"
