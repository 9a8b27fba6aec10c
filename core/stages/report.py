"""How a stage tells its supervisor how far it is: marked lines among whatever else lands in its output.

The supervisor tails the output, draws a bar from `@progress` lines and curves from `@measured` lines, shows `@log`
lines to people, and leaves the rest (warnings of libraries, tracebacks) to the log file.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

PROGRESS_MARK = "@progress "
MEASURED_MARK = "@measured "
LOG_MARK = "@log "
SAMPLE_EVERY = 4  # times the pause between progress lines: a curve needs fewer points than a bar


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units; `text` is a short status such as the loss."""

    done: float
    total: float
    unit: str
    text: str


@dataclass(frozen=True)
class Measured:
    """Finite numbers by name, of optimizer step `step` or of the model before it."""

    step: int
    values: Mapping[str, float]


class Reporter:
    """Writes progress and log lines to a stream; progress at most every `every` seconds (and always at the end)."""

    def __init__(self, stream: TextIO | None = None, every: float = 0.5) -> None:
        self._stream = stream or sys.stdout
        self._every = every
        self._last = float("-inf")
        self._sampled = float("-inf")

    def progress(self, done: float, total: float, unit: str, text: str = "") -> None:
        """Say that `done` of `total` units are behind us."""
        now = time.monotonic()
        if now - self._last < self._every and done < total:
            return
        self._last = now
        self._write(PROGRESS_MARK + json.dumps({"done": done, "total": total, "unit": unit, "text": text}))

    def measured(self, step: int, values: Mapping[str, float]) -> None:
        """Say what was measured at optimizer step `step`."""
        self._write(MEASURED_MARK + json.dumps({"step": step, "values": dict(values)}))

    def sample(self, step: int, values: Mapping[str, float]) -> None:
        """The same of what every step measures: told now and then, enough for a curve."""
        now = time.monotonic()
        if now - self._sampled >= SAMPLE_EVERY * self._every:
            self._sampled = now
            self.measured(step, values)

    def log(self, line: str) -> None:
        """Write one line that is meant for people."""
        self._write(LOG_MARK + line)

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


def parse(line: str) -> Progress | Measured | str | None:
    """Return the progress, the measurement or the text for people that `line` reports; None for any other output.

    A line that a full disk or another writer cut short is other output: it must not end the stage.
    """
    try:
        if line.startswith(PROGRESS_MARK):
            return Progress(**json.loads(line.removeprefix(PROGRESS_MARK)))
        if line.startswith(MEASURED_MARK):
            return Measured(**json.loads(line.removeprefix(MEASURED_MARK)))
    except (ValueError, TypeError):
        return None
    return line.removeprefix(LOG_MARK) if line.startswith(LOG_MARK) else None
