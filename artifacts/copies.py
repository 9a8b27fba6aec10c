"""Local copies of a bucket's artifacts: bounded, shared by the processes of a machine, never removed while in use.

    <cache>/artifacts/<folder>/<attempt>/   the files of a copy
    <cache>/arriving/<folder>/<attempt>/    downloads of it that are under way
    <cache>/copies/<folder>/<attempt>       its lock, shared by who uses it; says the bytes it takes up, and by its time
                                            when it was last used
    <cache>/filling/<folder>/<attempt>      locked by who brings its files, so that nobody else does
    <cache>/room.lock                       locked while room is made

Locks are the kernel's (flock): who is killed holds none, and what he left counts and can be evicted like any copy.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from artifacts.errors import CacheFull
from artifacts.folder import one_line_errors


@dataclass(frozen=True)
class Room:
    """What may be done to find room for a copy: of those that are not in use, the least recently used goes first."""

    may_exceed: bool = True  # the limit, when everything else is in use: for what a stage cannot do without
    evict_last: tuple[str, ...] = ()  # folders of artifacts that go only after all others, in this order


@dataclass
class Hold:
    """Keeps a copy where it is until released; a process that ends releases all of its own."""

    _descriptor: int | None = field(default=None, repr=False)  # None: nothing could remove it anyway

    def release(self) -> None:
        """Let the copy go; twice is fine."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class LocalCopies:
    """The copies in the folder `cache`, at most `limit` bytes of them; a copy is named `<folder>/<attempt>`."""

    def __init__(self, cache: Path, limit: int) -> None:
        self._cache = cache
        self._limit = limit

    def path(self, copy: str) -> Path:
        """Where the files of a copy are."""
        return self._cache / "artifacts" / copy

    def arriving(self, copy: str) -> Path:
        """Where its files are downloaded to before they are believed."""
        return self._cache / "arriving" / copy

    def hold(self, copy: str) -> Hold:
        """Keep the copy, there already or still to come, from being evicted."""
        with one_line_errors(self._lock(copy)):
            return Hold(_locked(self._lock(copy), fcntl.LOCK_SH))

    @contextmanager
    def filling(self, copy: str) -> Iterator[None]:
        """Be the only one, of all processes, who brings the files of the copy; clears what a killed one left."""
        lock = self._cache / "filling" / copy
        with one_line_errors(lock):
            descriptor = _locked(lock, fcntl.LOCK_EX)
        try:
            with one_line_errors(self.arriving(copy)):
                shutil.rmtree(self.arriving(copy), ignore_errors=True)
            yield
        finally:
            os.close(descriptor)

    def make_room(self, copy: str, size: int, room: Room) -> None:
        """Count `copy`, which the caller holds, as `size` bytes used now; evict others if that is above the limit.

        Raises `CacheFull`, with nothing evicted, when what is in use leaves no room and the limit may not be exceeded.
        """
        with one_line_errors(self._cache), self._accounts():
            sizes = self._sizes() | {copy: size}
            with ExitStack() as locks:
                excess = sum(sizes.values()) - self._limit
                victims = []
                for other in self._eviction_order(sizes.keys() - {copy}, room.evict_last):
                    if excess <= 0:
                        break
                    if (lock := _locked_at_once(self._lock(other))) is not None:
                        locks.callback(os.close, lock)
                        victims.append(other)
                        excess -= sizes[other]
                if excess > 0 and not room.may_exceed:
                    raise self._full(copy, size, sum(sizes.values()) - size - sum(sizes[other] for other in victims))
                for other in victims:
                    self._remove(other)
                self._lock(copy).write_text(str(size))

    def remove(self, copy: str) -> None:
        """Remove a copy that nobody should read any more."""
        if self._lock(copy).exists():
            with one_line_errors(self._cache), self._accounts():
                self._remove(copy)

    def _remove(self, copy: str) -> None:
        """The files first: what is killed in between is counted too much and not too little."""
        for folder in (self.path(copy), self.arriving(copy)):
            if folder.exists():
                shutil.rmtree(folder)
        self._lock(copy).write_text("")

    def _sizes(self) -> dict[str, int]:
        """The bytes of every copy that is counted."""
        root = self._cache / "copies"
        texts = {path.relative_to(root).as_posix(): path.read_text() for path in root.glob("*/*/*")}
        return {copy: int(text) for copy, text in texts.items() if text.isdecimal()}

    def _eviction_order(self, copies: set[str], last: Sequence[str]) -> list[str]:
        turns = {folder: turn for turn, folder in enumerate(last, start=1)}

        def turn(copy: str) -> tuple[int, float]:
            return turns.get(copy.rpartition("/")[0], 0), self._lock(copy).stat().st_mtime

        return sorted(copies, key=turn)

    def _full(self, copy: str, size: int, used: int) -> CacheFull:
        return CacheFull(
            f"cache {self._cache} has no room for {copy.rpartition('/')[0]} of {size / 1e9:.3g} GB: "
            f"{used / 1e9:.3g} of {self._limit / 1e9:.3g} GB are in use; raise MINISERIES_CACHE_GB"
        )

    @contextmanager
    def _accounts(self) -> Iterator[None]:
        descriptor = _locked(self._cache / "room.lock", fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(descriptor)

    def _lock(self, copy: str) -> Path:
        return self._cache / "copies" / copy


def _locked(path: Path, kind: int) -> int:
    """A descriptor of the file that has the lock; closing it gives the lock up."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, kind)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _locked_at_once(path: Path) -> int | None:
    """The same, exclusively; None when somebody else has the lock."""
    try:
        return _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
