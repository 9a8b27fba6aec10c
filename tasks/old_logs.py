"""Logs of stages in the user's log folder that nobody has written to for long, and the trash that they are moved to.

<log folder>/trash/<seconds since the epoch, when they were moved>/<kind>/<stage>.log
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from artifacts.folder import one_line_errors

TRASH = "trash"


@dataclass(frozen=True, kw_only=True)
class OldLog:
    """One file."""

    path: Path
    bytes: int
    age: float  # seconds since it was last written to

    def listing(self) -> dict[str, object]:
        """The JSON shape."""
        return {"path": str(self.path), "bytes": self.bytes, "age_seconds": self.age}


def log_folder() -> Path:
    """Where this machine keeps the output of stages."""
    return Path(platformdirs.user_log_dir("miniseries"))


def old_logs(now: float, seconds: float) -> list[OldLog]:
    """Logs last written to at least `seconds` before `now`, by path."""
    return [log for log in _logs(log_folder(), now) if log.age >= seconds]


def move_to_trash(logs: Iterable[OldLog], now: float) -> None:
    """Move them; they keep their times."""
    for log in logs:
        target = _trash() / str(int(now)) / log.path.relative_to(log_folder())
        with one_line_errors(log.path):
            target.parent.mkdir(parents=True, exist_ok=True)
            log.path.rename(target)


def bring_back() -> int:
    """Move everything in the trash back to where it was; returns how many files."""
    moved = 0
    for _, folder in _trashed():
        for path in [path for path in folder.rglob("*") if path.is_file()]:
            target = log_folder() / path.relative_to(folder)
            with one_line_errors(path):
                target.parent.mkdir(parents=True, exist_ok=True)
                path.rename(target)
            moved += 1
        with one_line_errors(folder):
            shutil.rmtree(folder)
    return moved


def delete_expired_logs(now: float, window: float) -> int:
    """Delete what was moved to the trash at least `window` seconds ago; returns how many bytes."""
    freed = 0
    for when, folder in _trashed():
        if now - when >= window:
            freed += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            with one_line_errors(folder):
                shutil.rmtree(folder)
    return freed


def _trash() -> Path:
    return log_folder() / TRASH


def _trashed() -> Iterator[tuple[int, Path]]:
    if _trash().is_dir():
        yield from ((int(folder.name), folder) for folder in sorted(_trash().iterdir()) if folder.name.isdecimal())


def _logs(root: Path, now: float) -> Iterator[OldLog]:
    for path in sorted(root.rglob("*.log")):
        if _trash() in path.parents:
            continue
        try:
            status = path.stat()
        except FileNotFoundError:  # moved away by somebody else meanwhile
            continue
        yield OldLog(path=path, bytes=status.st_size, age=max(0.0, now - status.st_mtime))
