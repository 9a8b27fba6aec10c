"""A heavy stage while it runs, in the Prefect UI: a progress bar with the time left, and of a training its curves."""

from __future__ import annotations

import time
from functools import partial

from core.planning.results import TRAINING
from core.planning.stage import Stage
from core.planning.title import title
from core.publishing.card_markdown import duration
from core.stages.report import Measured, Progress
from tasks.ui.board import Board
from tasks.ui.page import Page, page_key
from tasks.ui.time_left import TimeLeft, spoken
from tasks.ui.training_page import BPB, Record, training_page

CURVE_SECONDS = 60.0  # between two curves, unless the model is measured


class StageDisplay:
    """A display of one stage, whatever it is called by."""

    def __init__(self, stage: Stage, board: Board) -> None:
        self._stage = stage
        self._board = board
        self._left = TimeLeft()
        self._progress: Progress | None = None
        self._standing = "running"
        self._records: list[Record] = []
        self._drawn = float("-inf")

    def begin(self, title: str) -> None:
        """Nothing to show before the stage tells how far it is."""

    def advance(self, title: str, progress: Progress) -> None:
        """Move the bar."""
        self._progress = progress
        self._show_bar(progress, spoken(self._left.after(progress)))

    def measure(self, title: str, measured: Measured) -> None:
        """Draw the curve anew when the model was measured, and once a minute."""
        self._records.append((measured.step, measured.values))
        now = time.monotonic()
        if BPB in measured.values or now - self._drawn >= CURVE_SECONDS:
            self._drawn = now
            self._show_curves()

    def say(self, line: str) -> None:
        """In the log of the task run."""

    def end(self, title: str, state: str, seconds: float, summary: str) -> None:
        """Leave the bar and the curve as they ended."""
        if self._progress is not None:
            self._show_bar(self._progress, f" · {state} after {duration(seconds)}")
        if self._records:
            self._show_curves()

    def _show_bar(self, progress: Progress, ending: str) -> None:
        done = f"{progress.done:,.0f} of {progress.total:,.0f} {progress.unit}"
        text = f" · {progress.text}" if progress.text else ""
        self._standing = f"{done}{text}{ending}"
        share = min(1.0, progress.done / progress.total) if progress.total else 0.0
        page = Page(form="progress", data=round(100 * share, 1), description=self._standing)
        self._board.show(page_key(self._stage, "progress"), lambda: page)

    def _show_curves(self) -> None:
        if self._stage.kind in TRAINING:
            key, records = page_key(self._stage, "loss"), list(self._records)
            self._board.show(key, partial(self._curves, self._standing, records))

    def _curves(self, standing: str, records: list[Record]) -> Page:
        text = training_page(title(self._stage), standing, records, {})
        return Page(form="markdown", data=text, description=standing)
