"""The lives of stages as lines of `core.stages.report`: for whoever follows the log of a job and shows it elsewhere."""

from __future__ import annotations

import sys

from core.stages.report import Measured, Progress, Reporter

PROGRESS_SECONDS = 5.0  # between lines of one stage: a day of them is 2 MB


class MarkedDisplay:
    """A `tasks.display.Display` on standard output."""

    def __init__(self) -> None:
        self._reporter = Reporter(sys.stdout, every=PROGRESS_SECONDS)

    def begin(self, title: str) -> None:
        """Whoever follows has said so."""

    def advance(self, title: str, progress: Progress) -> None:
        """See `tasks.display.Display`."""
        self._reporter.progress(progress.done, progress.total, progress.unit, progress.text)

    def measure(self, title: str, measured: Measured) -> None:
        """See `tasks.display.Display`."""
        self._reporter.measured(measured.step, measured.values)

    def say(self, line: str) -> None:
        """See `tasks.display.Display`."""
        self._reporter.log(line)

    def end(self, title: str, state: str, seconds: float, summary: str) -> None:
        """See `tasks.display.Display`."""
        self._reporter.log(f"{title}: {state} in {seconds:.1f} s on this node")
