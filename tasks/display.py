"""What a person sees while stages run: live bars on a terminal, plain lines elsewhere.

One display serves a whole flow run, whose stages run beside each other in threads; it is chosen once, by whoever
starts the flow. A stage is known by its title.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

from core.stages import report

LINE_SECONDS = 10.0
MARKS = {"cached": "[cyan]=[/]", "reused": "[cyan]=[/]", "made": "[green]+[/]"}


class Display(Protocol):
    """The lives of stages, as told to a person. Called from several threads."""

    def begin(self, title: str) -> None:
        """The stage `title` is being made now."""

    def advance(self, title: str, progress: report.Progress) -> None:
        """The running stage `title` is this far."""

    def measure(self, title: str, measured: report.Measured) -> None:
        """The running stage `title` has measured itself."""

    def say(self, line: str) -> None:
        """A line worth reading now: a wait, a resume, a warning."""

    def end(self, title: str, state: str, seconds: float, summary: str) -> None:
        """The stage ended in `state`."""


class LineDisplay:
    """One line when a stage begins and ends, and one every ten seconds between; for logs and pipes.

    A stage that says something itself every ten seconds, as training does, needs no other line: twice that is waited.
    """

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._last: dict[str, float] = {}  # title -> when it had its last line

    def begin(self, title: str) -> None:
        self._last[title] = self._clock()
        self._logger.info("%s: started", title)

    def advance(self, title: str, progress: report.Progress) -> None:
        now = self._clock()
        if now - self._last.get(title, 0.0) >= LINE_SECONDS:
            self._last[title] = now
            share = f"{progress.done:,.0f}/{progress.total:,.0f} {progress.unit}"
            self._logger.info("%s: %s  %s", title, share, progress.text)

    def measure(self, title: str, measured: report.Measured) -> None:
        """The stage's own lines say it."""

    def say(self, line: str) -> None:
        self._logger.info("  %s", line)
        title = next((title for title in self._last if line.startswith(f"{title}: ")), None)
        if title is not None:
            self._last[title] = self._clock() + LINE_SECONDS

    def end(self, title: str, state: str, seconds: float, summary: str) -> None:
        self._logger.info("%s: %s in %.1f s  %s", title, state, seconds, summary)


class BarDisplay:
    """A live bar for each running stage, and a line that stays for each that ended."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("  {task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[share]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}", style="dim", markup=False),
            console=console,
            transient=True,
            expand=True,  # the title takes what room there is; numbers are never cut for it
        )
        self._running: dict[str, TaskID] = {}
        self._lock = threading.Lock()  # a stage may end while another begins

    def begin(self, title: str) -> None:
        with self._lock:
            self._bars.start()
            self._running[title] = self._bars.add_task(escape(title), total=None, share="", text="")

    def advance(self, title: str, progress: report.Progress) -> None:
        if (bar := self._running.get(title)) is not None:
            share = f"{progress.done:,.0f}/{progress.total:,.0f} {progress.unit}"
            done, total, text = progress.done, progress.total, progress.text
            self._bars.update(bar, completed=done, total=total, share=share, text=text, refresh=True)

    def measure(self, title: str, measured: report.Measured) -> None:
        """The stage's own lines say it."""

    def say(self, line: str) -> None:
        self._console.print(f"    {line}", style="dim", highlight=False, markup=False)

    def end(self, title: str, state: str, seconds: float, summary: str) -> None:
        with self._lock:
            if (bar := self._running.pop(title, None)) is not None:
                self._bars.remove_task(bar)
                if not self._running:
                    self._bars.stop()
        mark = MARKS.get(state, "[red]x[/]")
        text = f"{escape(title)}  [dim]{state} {seconds:.1f} s  {escape(summary)}[/]"
        self._console.print(f"  {mark} {text}", highlight=False)


class BothDisplays:
    """Tells two displays the same: a terminal and a log, or those and the pages of the Prefect UI."""

    def __init__(self, first: Display, second: Display) -> None:
        self._displays = (first, second)

    def begin(self, title: str) -> None:
        for display in self._displays:
            display.begin(title)

    def advance(self, title: str, progress: report.Progress) -> None:
        for display in self._displays:
            display.advance(title, progress)

    def measure(self, title: str, measured: report.Measured) -> None:
        for display in self._displays:
            display.measure(title, measured)

    def say(self, line: str) -> None:
        for display in self._displays:
            display.say(line)

    def end(self, title: str, state: str, seconds: float, summary: str) -> None:
        for display in self._displays:
            display.end(title, state, seconds, summary)


_current: list[Display] = []


@contextmanager
def shown_on(display: Display) -> Iterator[None]:
    """Use `display` for every stage that runs inside the `with`."""
    _current.append(display)
    try:
        yield
    finally:
        _current.pop()


def display_with(logger: logging.Logger) -> Display:
    """The display in use together with lines to `logger`; without one, the lines alone."""
    lines = LineDisplay(logger)
    return BothDisplays(_current[-1], lines) if _current else lines
