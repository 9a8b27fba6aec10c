"""How far several downloads are: bytes, rate and time left, counted by threads and read by one.

It is also how they are stopped: the next piece of a stopped download raises `Abandoned`.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass


class Abandoned(Exception):
    """The stage ends for another reason; this download is of no use any more."""


@dataclass
class _File:
    """One file under way: bytes that are here, and bytes it will have (None: nobody said)."""

    here: int
    size: int | None


class Watch:
    """Counts what arrives. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._files: dict[str, _File] = {}
        self._received = 0  # bytes over the network, repeated ones included
        self._notes: list[str] = []
        self._started = time.monotonic()

    def begin(self, name: str, here: int, size: int | None) -> None:
        """`name` is at byte `here` of `size`."""
        with self._lock:
            self._files[name] = _File(here, size)

    def received(self, name: str, count: int) -> None:
        """`count` more bytes of `name`; raises `Abandoned` after `stop`."""
        with self._lock:
            self._files[name].here += count
            self._received += count
        if self._stopped.is_set():
            raise Abandoned

    def finished(self, name: str) -> None:
        """`name` is not under way any more."""
        with self._lock:
            self._files.pop(name, None)

    def sleep(self, seconds: float) -> None:
        """Wait; raises `Abandoned` as soon as `stop` is called."""
        if self._stopped.wait(seconds):
            raise Abandoned

    def stop(self) -> None:
        """End every download at its next piece."""
        self._stopped.set()

    def note(self, line: str) -> None:
        """Keep a line for people until the reading thread takes it."""
        with self._lock:
            self._notes.append(line)

    def take_notes(self) -> list[str]:
        """The lines noted since the last call."""
        with self._lock:
            taken, self._notes = self._notes, []
        return taken

    def under_way(self) -> float:
        """Files under way as a sum of the fractions that are here."""
        with self._lock:
            return sum(file.here / file.size for file in self._files.values() if file.size)

    def rate(self) -> str:
        """Bytes received and bytes per second since the start; empty before the first byte."""
        with self._lock:
            received = self._received
        seconds = time.monotonic() - self._started
        return f"{received / 1e6:,.0f} MB, {received / 1e6 / seconds:,.1f} MB/s" if received and seconds else ""

    def left(self, done: float, total: float) -> str:
        """Time left at the pace of the `done` of `total` units since the start; empty where nothing is known."""
        if not 0 < done < total:
            return ""
        seconds = round((time.monotonic() - self._started) * (total - done) / done)
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d} left"
