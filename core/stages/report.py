"""How a stage tells its supervisor how far it is: one machine-readable line among its plain log lines.

The supervisor tails the stage's output, draws a bar from `@progress` lines and logs the others.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import TextIO

MARK = "@progress "


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units; `text` is a short status such as the loss."""

    done: float
    total: float
    unit: str
    text: str


class Reporter:
    """Writes progress and log lines to a stream; progress at most every `every` seconds (and always at the end)."""

    def __init__(self, stream: TextIO | None = None, every: float = 0.5) -> None:
        self._stream = stream or sys.stdout
        self._every = every
        self._last = float("-inf")

    def progress(self, done: float, total: float, unit: str, text: str = "") -> None:
        """Say that `done` of `total` units are behind us."""
        now = time.monotonic()
        if now - self._last < self._every and done < total:
            return
        self._last = now
        self._write(MARK + json.dumps({"done": done, "total": total, "unit": unit, "text": text}))

    def log(self, line: str) -> None:
        """Write one plain line for the stage's log."""
        self._write(line)

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


def parse_progress(line: str) -> Progress | None:
    """Return the progress that `line` reports, or None for a plain log line."""
    if not line.startswith(MARK):
        return None
    return Progress(**json.loads(line.removeprefix(MARK)))
