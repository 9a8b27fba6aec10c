"""The log of a batch job, read while it grows: progress and lines for people are shown, the error is remembered."""

from __future__ import annotations

from pathlib import Path

from core.stages.report import Measured, Progress, parse
from tasks.perform import Assignment

ERROR_MARK = "miniseries: "  # how the command line begins the one line that says what is wrong


class JobLog:
    """What one job prints, from byte `begin` of its log on."""

    def __init__(self, path: Path, assignment: Assignment, begin: int = 0) -> None:
        self.error = ""
        self._path = path
        self._assignment = assignment
        self._offset = begin

    @classmethod
    def from_now(cls, path: Path, assignment: Assignment) -> JobLog:
        """What the job prints from now on."""
        return cls(path, assignment, path.stat().st_size if path.exists() else 0)

    def read(self) -> None:
        """Show the whole lines that came since the last time."""
        if not self._path.exists():  # the job has not begun
            return
        with self._path.open("rb") as reader:
            reader.seek(self._offset)
            text, end, _ = reader.read().rpartition(b"\n")
        self._offset += len(text) + len(end)
        for line in text.decode(errors="replace").split("\n") if end else []:
            self._show(line)

    def _show(self, line: str) -> None:
        display, title = self._assignment.display, self._assignment.title
        told = parse(line)
        if isinstance(told, Progress):
            display.advance(title, told)
        elif isinstance(told, Measured):
            display.measure(title, told)
        elif told is not None:
            display.say(told)
        elif line.startswith(ERROR_MARK):
            self.error = line.removeprefix(ERROR_MARK)
