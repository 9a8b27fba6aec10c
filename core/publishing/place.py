"""Where destination `folder` keeps its files: a local folder or a bucket, with the four operations it needs.

Not the store's own folder storage, which keeps private files beside what it stores: here nothing stands that
was not published. A file is copied beside its name and renamed, so a reader sees the old one or the new one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from artifacts.folder import flush
from artifacts.location import store_location
from artifacts.storage import Listed, Versioned
from core.stages.context import StageError

PART = ".part"  # suffix of a file that is being copied


class Place(Protocol):
    """The part of `artifacts.storage.Storage` that publishing needs; paths are relative, with `/`."""

    def read(self, path: str) -> Versioned | None:
        """Return a small file, None when there is none."""

    def listing(self, prefix: str) -> list[Listed]:
        """Return every file below the folder `prefix`, sorted by path."""

    def upload(self, source: Path, path: str) -> None:
        """Write a file of any size."""

    def delete(self, paths: Iterable[str]) -> None:
        """Remove files; those that do not exist are as good as removed."""


class LocalPlace:
    """`Place` in the folder `root`, which is made when first written to."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str) -> Versioned | None:
        """The file's bytes; they are their own version."""
        with one_line_errors(), suppress(FileNotFoundError, NotADirectoryError):
            return Versioned((self._root / path).read_bytes(), "")
        return None

    def listing(self, prefix: str) -> list[Listed]:
        """Walk the tree below `prefix`."""
        with one_line_errors():
            found = [path for path in (self._root / prefix).rglob("*") if path.is_file()]
            listed = [Listed(path.relative_to(self._root).as_posix(), path.stat().st_size, "") for path in found]
        return sorted(listed, key=lambda file: file.path)

    def upload(self, source: Path, path: str) -> None:
        """Copy, flush, rename."""
        target = self._root / path
        part = target.with_name(f".{target.name}{PART}")
        with one_line_errors():
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(source, part)
                flush(part)
                os.replace(part, target)
            finally:
                part.unlink(missing_ok=True)
            flush(target.parent)

    def delete(self, paths: Iterable[str]) -> None:
        """Unlink files."""
        with one_line_errors():
            for path in paths:
                (self._root / path).unlink(missing_ok=True)


def open_place(url: str) -> Place:
    """The folder or bucket that `url` names; raises `StoreError` for another kind of URL."""
    location = store_location(url)
    if location.folder is not None:
        return LocalPlace(location.folder)
    from artifacts.bucket import BucketStorage  # here, because importing s3fs takes a second that folders need not pay

    return BucketStorage(location.bucket, location.prefix, location.url)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn an `OSError` into a `StageError` that names the file."""
    try:
        yield
    except OSError as error:
        raise StageError(
            f"publication folder: {error.filename2 or error.filename}: {error.strerror or error}; "
            "make room or set MINISERIES_HUB to a folder that can be written, then run again"
        ) from error
