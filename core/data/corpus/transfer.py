"""One file fetched whole: continued where it broke off, tried again with patience, and checked before it counts.

Guarantees: what stands at `target` has the size and the sha256 that its origin announced; a try that brings new bytes
gives back all tries; waiting obeys the server's Retry-After; an error that would not pass is raised at once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from core.data.corpus.partial_file import partial_file
from core.data.corpus.watch import Watch
from core.stages.context import StageError, StageUnavailable

TRIES = 6  # without a new byte; half a second, 1, 2, 4 and 8 seconds between them
FIRST_WAIT = 0.5  # seconds
LONGEST_WAIT = 300.0  # seconds; the Hub's windows for rate limits are that long

ResultT = TypeVar("ResultT")


class TransferBroken(Exception):
    """This try brought no whole file, the next one may; `wait` is how many seconds the server asks us to stay away."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


@dataclass(frozen=True, kw_only=True)
class Announced:
    """What the origin says of a file; `version` is what changes when the file does (a commit, an ETag)."""

    size: int | None
    sha256: str | None
    version: str | None


@dataclass(frozen=True)
class Body:
    """The bytes of a file from `offset` on; a server that cannot skip begins at 0 again."""

    offset: int
    pieces: Iterable[bytes]


class Remote(Protocol):
    """A file somewhere else. Both methods raise `TransferBroken` for what may pass, `StageError` for what will not."""

    @property
    def name(self) -> str:
        """What people call the file."""

    def announced(self) -> Announced:
        """Ask what the file is."""

    def open(self, offset: int) -> AbstractContextManager[Body]:
        """Begin to read at `offset`, if the other side can."""


def fetch(
    remote: Remote, target: Path, watch: Watch, *, announced: Announced | None = None, tries: int = TRIES
) -> Announced:
    """Bring `remote` to `target`, verified; returns what was announced. Raises `StageUnavailable` when tries are spent.

    `announced` is what to verify against where somebody other than `remote` knows better; `tries` counts those that
    bring no new byte. What an earlier process brought of the same bytes is not read again.
    """
    known = announced or with_patience(remote.announced, watch, tries)
    with partial_file(known.sha256, target.with_name(f"{target.name}.partial")) as partial:
        with_patience(lambda: _bring(remote, partial, known, watch), watch, tries, _Reached(partial, known.size))
        shutil.move(partial, target)
    return known


@dataclass(frozen=True)
class _Reached:
    """How much of a file is here."""

    partial: Path
    size: int | None

    def bytes(self) -> int:
        return self.partial.stat().st_size if self.partial.is_file() else 0

    def __str__(self) -> str:
        of = "" if self.size is None else f" of {self.size:,}"
        return f"{self.bytes():,}{of} bytes are here"


def with_patience(
    attempt: Callable[[], ResultT], watch: Watch, tries: int = TRIES, reached: _Reached | None = None
) -> ResultT:
    """Repeat `attempt` until it does not break; raises `StageUnavailable` after `tries` that brought no new byte."""
    furthest, failures = reached.bytes() if reached else 0, 0
    while True:
        try:
            return attempt()
        except TransferBroken as broken:
            here = reached.bytes() if reached else 0
            failures = 1 if here > furthest else failures + 1
            furthest = max(furthest, here)
            if failures >= tries:
                what = f", {reached}" if reached else ""
                raise StageUnavailable(f"{broken}; {failures} tries{what}") from broken
            watch.sleep(_wait(broken, failures))


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bring(remote: Remote, partial: Path, announced: Announced, watch: Watch) -> None:
    _continue(remote, partial, announced, watch)
    _verify(remote, partial, announced)


def _continue(remote: Remote, partial: Path, announced: Announced, watch: Watch) -> None:
    partial.touch()
    there = partial.stat().st_size
    if announced.size is not None and there >= announced.size:
        return
    watch.begin(remote.name, there, announced.size)
    with remote.open(there) as body, partial.open("r+b") as file:
        file.seek(body.offset)
        file.truncate()
        watch.begin(remote.name, body.offset, announced.size)
        for piece in body.pieces:
            file.write(piece)
            file.flush()  # whoever kills this process, the bytes are here
            watch.received(remote.name, len(piece))


def _verify(remote: Remote, partial: Path, announced: Announced) -> None:
    """Raise `TransferBroken` for another size or sha256; wrong bytes are thrown away, missing ones are not."""
    size = partial.stat().st_size
    if announced.size is not None and size < announced.size:
        raise TransferBroken(f"{remote.name} ended after {size:,} of {announced.size:,} bytes")
    wrong = None
    if announced.size is not None and size > announced.size:
        wrong = f"{remote.name} brought {size:,} bytes, {announced.size:,} were announced"
    elif announced.sha256 is not None and (found := sha256_of(partial)) != announced.sha256:
        wrong = f"the sha256 of {remote.name} is {found[:12]}, {announced.sha256[:12]} was announced"
    if wrong is not None:
        os.truncate(partial, 0)
        _check_unchanged(remote, announced)
        raise TransferBroken(wrong)


def _check_unchanged(remote: Remote, announced: Announced) -> None:
    now = remote.announced()
    if announced.sha256 and now.sha256 and now.sha256 != announced.sha256:
        raise StageError(
            f"{remote.name} changed while it was read: sha256 {announced.sha256[:12]} became {now.sha256[:12]}; "
            "pin a revision that stays, then run it again"
        )


def _wait(broken: TransferBroken, failures: int) -> float:
    own = FIRST_WAIT * 2.0 ** (failures - 1)
    return min(LONGEST_WAIT, own if broken.wait is None else max(broken.wait, 0.0))
