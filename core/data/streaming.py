"""A stream whose groups come from the store while it is read: the next one arrives before the current one is finished.

A thread keeps the group that is being read and the one after it on local disk, through the cache that all processes of
a machine share; which group that is follows from the row number, so a wrap-around, a resume and a repeated step are
nothing special. Of what has been read, the group needed latest makes room first.
Trouble with a group is raised when its rows are needed and not before: a store that is away for a moment stops nothing
while rows are at hand. A cache that is full of what stages hold may delay what is needed later; what is needed now
exceeds its limit by one group.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from artifacts.errors import CacheFull, StoreError, StoreUnavailable
from artifacts.store import HeldFiles, Room
from core.data.rows import Rows, StreamLayout, joined
from core.stages.context import StageError, StageUnavailable
from core.stages.streamed import StreamedInput

PATIENCE_SECONDS = 300.0  # for rows that are needed now; below the ten minutes that other ranks wait in a collective
PAUSES_SECONDS = (0.2, 1.0, 5.0, 15.0)  # before a group is tried again; the last one repeats
FULL_SECONDS = 1.0  # that rows which are needed now wait for room; longer than another rank is behind
CLOSING_SECONDS = 2.0  # for a download under way when the stage ends; the process's end frees what it held


@dataclass(frozen=True)
class Arrived:
    """A group on local disk."""

    files: HeldFiles
    rows: Rows


class StreamedRows:
    """Groups of the store, one after another, as one stream that ends with row `end`."""

    def __init__(
        self,
        groups: Sequence[StreamedInput],
        row_tokens: int,
        *,
        end: int,
        say: Callable[[str], None],
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.row_tokens = row_tokens
        self._groups = tuple(groups)
        self._layout = StreamLayout([group.artifact.rows for group in groups])
        self.rows_per_epoch = self._layout.rows_per_epoch
        self._last_visit = next(self._layout.pieces(end - 1, 1)).visit
        self._say = say
        self._patience_seconds = patience_seconds
        self._changed = threading.Condition()
        self._visit: int | None = None  # being read; None before the first row was asked for
        self._since = 0.0  # when its first row was asked for
        self._arrived: dict[int, Arrived] = {}  # by group
        self._trouble: dict[int, StoreError] = {}  # why a group is not there yet
        self._failed: dict[int, Exception] = {}  # and will not come
        self._closed = False
        self._thread = threading.Thread(target=self._keep_ahead, name="stream", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(CLOSING_SECONDS)

    def read(self, start: int, count: int) -> npt.NDArray[np.int64]:
        """Rows [start, start + count) of the stream, wrapping around at its end: int64 [count, T+1].

        Raises what is wrong with their group in the store, `StageUnavailable` when it does not come in time.
        """
        parts = [self._group(piece.visit).rows[piece.rows] for piece in self._layout.pieces(start, count)]
        return joined(parts, self.row_tokens)

    def _group(self, visit: int) -> Arrived:
        """The group of a visit, waited for."""
        group, deadline = visit % len(self._groups), time.monotonic() + self._patience_seconds
        with self._changed:
            if visit != self._visit:
                self._visit, self._since = visit, time.monotonic()
                self._changed.notify_all()
            while (arrived := self._arrived.get(group)) is None:
                if group in self._failed:
                    raise self._failed[group]
                if time.monotonic() > deadline:
                    why = self._trouble.get(group, "it is still on its way")
                    raise StageUnavailable(
                        f"{self._name(group)} was waited for in vain for {self._patience_seconds:.0f} s: {why}"
                    )
                self._changed.wait(min(1.0, self._patience_seconds))
            return arrived

    def _keep_ahead(self) -> None:
        """The thread: release what was read, bring what is lacking, wait for the reader to move on."""
        attempts = 0
        while True:
            with self._changed:
                lacking, visit = self._let_go(), self._visit
                if self._closed:
                    break
                if lacking is None:
                    attempts = 0
                    self._changed.wait()
                    continue
            if self._bring(lacking):
                attempts = 0
                continue
            pause = PAUSES_SECONDS[min(attempts, len(PAUSES_SECONDS) - 1)]
            attempts = 0 if self._moved_from(visit, pause) else attempts + 1
        for arrived in self._arrived.values():
            arrived.files.release()

    def _moved_from(self, visit: int | None, seconds: float) -> bool:
        """Wait that long; at once True when the reader has moved on, maybe while the last try was under way."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed or self._visit != visit, seconds)

    def _let_go(self) -> int | None:
        """Release the groups that were read; the first of those wanted that is lacking and may still come."""
        wanted = self._upcoming()[:2]
        for group in self._arrived.keys() - set(wanted):
            self._arrived.pop(group).files.release()
        return next((group for group in wanted if group not in self._arrived and group not in self._failed), None)

    def _upcoming(self) -> list[int]:
        """The groups that will be read, once each, the one being read first."""
        if self._visit is None:
            return []
        last = max(self._visit, min(self._last_visit, self._visit + len(self._groups) - 1))
        filled = (visit % len(self._groups) for visit in range(self._visit, last + 1))
        return [group for group in filled if self._groups[group].artifact.rows]

    def _bring(self, group: int) -> bool:
        """Bring one group to local disk; False when that may work later."""
        room = self._room(group)
        started = time.monotonic()
        try:
            files = self._groups[group].hold(room)
            rows = self._opened(group, files)
        except (StoreUnavailable, CacheFull) as error:
            self._note(group, error)
            return False
        except Exception as error:  # noqa: BLE001 -- raised again in the thread that needs the rows
            with self._changed:
                self._failed[group] = error
                self._changed.notify_all()
            return True
        seconds = time.monotonic() - started
        self._say(f"{self._name(group)} is at hand: {rows.matrix.nbytes / 1e9:.2f} GB in {seconds:.1f} s")
        with self._changed:
            self._trouble.pop(group, None)
            self._arrived[group] = Arrived(files, rows)
            self._changed.notify_all()
        return True

    def _room(self, group: int) -> Room:
        """What may be done to find room for it: the group needed latest goes first."""
        with self._changed:
            upcoming, waited = self._upcoming(), time.monotonic() - self._since
        latest_first = tuple(self._groups[other].artifact.address.folder for other in reversed(upcoming[2:]))
        return Room(may_exceed=group == upcoming[0] and waited >= FULL_SECONDS, evict_last=latest_first)

    def _opened(self, group: int, files: HeldFiles) -> Rows:
        """Its rows, which must be as many and as long as was said."""
        try:
            rows, expected = Rows.open(files.folder), (self._groups[group].artifact.rows, self.row_tokens)
            if (rows.count, rows.row_tokens) != expected:
                raise StageError(
                    f"{self._name(group)} has {rows.count:,} rows of {rows.row_tokens:,} tokens, expected "
                    f"{expected[0]:,} of {expected[1]:,}; pack it again"
                )
        except BaseException:
            files.release()
            raise
        return rows

    def _note(self, group: int, error: StoreError) -> None:
        """Remember why a group is not there; say so once."""
        with self._changed:
            before = self._trouble.get(group)
            self._trouble[group] = error
        if str(before) != str(error):
            self._say(f"{self._name(group)} cannot be had now, trying again: {error}")

    def _name(self, group: int) -> str:
        return f"{self._groups[group].artifact.address}"
