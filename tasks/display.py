"""What a person sees while stages run: live bars on a terminal, plain lines elsewhere.

Stages run one at a time in the main thread, so one display serves a whole flow run; it is chosen once,
by whoever starts the flow.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
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
    """One stage's life, as told to a person."""

    def begin(self, title: str) -> None:
        """The stage `title` is being made now."""

    def advance(self, progress: report.Progress) -> None:
        """The running stage is this far."""

    def say(self, line: str) -> None:
        """A line worth reading now: a wait, a resume, a warning."""

    def end(self, title: str, state: str, seconds: float, summary: str) -> None:
        """The stage ended in `state`."""


class LineDisplay:
    """One line when a stage begins and ends, and one every ten seconds between; for logs and pipes."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._title = ""
        self._last = 0.0

    def begin(self, title: str) -> None:
        self._title = title
        self._last = time.monotonic()
        self._logger.info("%s: started", title)

    def advance(self, progress: report.Progress) -> None:
        now = time.monotonic()
        if now - self._last >= LINE_SECONDS:
            self._last = now
            share = f"{progress.done:,.0f}/{progress.total:,.0f} {progress.unit}"
            self._logger.info("%s: %s  %s", self._title, share, progress.text)

    def say(self, line: str) -> None:
        self._logger.info("  %s", line)

    def end(self, title: str, state: str, seconds: float, summary: str) -> None:
        self._logger.info("%s: %s in %.1f s  %s", title, state, seconds, summary)


class BarDisplay:
    """A live bar for the running stage, and a line that stays for each that ended."""

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
        self._bar: TaskID | None = None

    def begin(self, title: str) -> None:
        self._bars.start()
        self._bar = self._bars.add_task(escape(title), total=None, share="", text="")

    def advance(self, progress: report.Progress) -> None:
        if self._bar is not None:
            share = f"{progress.done:,.0f}/{progress.total:,.0f} {progress.unit}"
            done, total, text = progress.done, progress.total, progress.text
            self._bars.update(self._bar, completed=done, total=total, share=share, text=text, refresh=True)

    def say(self, line: str) -> None:
        self._console.print(f"    {line}", style="dim", highlight=False, markup=False)

    def end(self, title: str, state: str, seconds: float, summary: str) -> None:
        if self._bar is not None:
            self._bars.remove_task(self._bar)
            self._bars.stop()
            self._bar = None
        mark = MARKS.get(state, "[red]x[/]")
        text = f"{escape(title)}  [dim]{state} {seconds:.1f} s  {escape(summary)}[/]"
        self._console.print(f"  {mark} {text}", highlight=False)


class BothDisplays:
    """Tells two displays the same: the terminal, and the log that the Prefect UI shows."""

    def __init__(self, first: Display, second: Display) -> None:
        self._displays = (first, second)

    def begin(self, title: str) -> None:
        for display in self._displays:
            display.begin(title)

    def advance(self, progress: report.Progress) -> None:
        for display in self._displays:
            display.advance(progress)

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
