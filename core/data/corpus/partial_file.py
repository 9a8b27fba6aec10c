"""Where a download lies until it is whole: in the cache, by its sha256, so that a killed one continues at its byte.

One process at a time has a place there, by a lock that ends with the process; any other uses `beside`, and so does a
file of which nobody announced a sha256, because nothing would tell whether the old bytes belong to the new ones. What
nobody continued for a week is removed.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from artifacts.location import cache_folder

FORGOTTEN = 7 * 86_400.0  # seconds


@contextmanager
def partial_file(sha256: str | None, beside: Path) -> Iterator[Path]:
    """Yield the path of a file to append to, which may hold the beginning already.

    What is left there afterwards stays for the next try when it is in the cache, and is removed when it is `beside`.
    """
    kept = _kept_place(sha256) if sha256 else None
    try:
        if kept is None:
            yield beside
        else:
            with kept.open("ab") as file:
                yield kept if _locked(file.fileno(), kept) else beside
    finally:
        beside.unlink(missing_ok=True)


def _kept_place(sha256: str) -> Path:
    folder = cache_folder() / "downloads"
    folder.mkdir(parents=True, exist_ok=True)
    oldest = time.time() - FORGOTTEN
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process has moved or removed it
            if path.stat().st_mtime < oldest:
                path.unlink()
    return folder / f"{sha256}.partial"


def _locked(descriptor: int, path: Path) -> bool:
    """Lock the open file, if nobody has it and it is still the one at `path`."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
