"""Moving and hashing many files at once: the one place where artifact bytes are copied.

Files go a few at a time, each in its own thread (hashing and sockets release the interpreter lock). What is
downloaded is hashed from the disk it landed on, because no S3 client notices a byte flipped on the way.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from artifacts.errors import Damage, StoreError
from artifacts.folder import one_line_errors, remove_abandoned
from artifacts.manifest import FileRecord, safe_path

CONCURRENT_FILES = 8
DOWNLOAD_TRIES = 3

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Mover(Protocol):
    """Copies single files to and from a store; `Storage` is one, a faster client may be another."""

    def upload(self, source: Path, path: str) -> None:
        """Write a file to the store."""

    def download(self, path: str, target: Path, size: int) -> bool:
        """Copy about `size` bytes from the store; False when it has no such object."""


def at_once(act: Callable[[ItemT], ResultT], items: Iterable[ItemT], workers: int = CONCURRENT_FILES) -> list[ResultT]:
    """Apply `act` to all items, several at a time; results in order. After a failure nothing more is begun."""
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="miniseries-files") as pool:
        futures = [pool.submit(act, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def sha256_of(path: Path) -> str:
    """sha256 hex of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_files(root: Path) -> tuple[FileRecord, ...]:
    """Size and sha256 of every file below `root`, sorted by path; `StoreError` for a link or an unportable name."""
    paths = sorted(_files_below(root), key=lambda path: path.relative_to(root).as_posix())

    def record(path: Path) -> FileRecord:
        with one_line_errors(path):
            return FileRecord(path=path.relative_to(root).as_posix(), bytes=path.stat().st_size, sha256=sha256_of(path))

    return tuple(at_once(record, paths))


def upload_files(mover: Mover, root: Path, files: Sequence[FileRecord], prefix: str) -> None:
    """Write `files` of the folder `root` below `prefix`."""

    def upload(file: FileRecord) -> None:
        with one_line_errors(root / file.path):
            mover.upload(root / file.path, f"{prefix}/{file.path}")

    at_once(upload, files)


def download_files(
    mover: Mover, prefix: str, files: Sequence[FileRecord], root: Path | None, partial: Path, artifact: str
) -> list[Damage]:
    """Bring `files` from below `prefix` into `root`, whole or not at all, and return those that cannot be had.

    Without a `root` they are only checked.
    Each lands in the folder `partial` (same file system), is hashed there, and is renamed into place. A
    mismatch is tried again twice: the byte may have been flipped on the way and not in the store.
    """
    with one_line_errors(partial):
        partial.mkdir(parents=True, exist_ok=True)
        remove_abandoned(partial)
    found = at_once(lambda file: _download(mover, prefix, file, root, partial, artifact), files)
    return [damage for damage in found if damage is not None]


def _download(
    mover: Mover, prefix: str, file: FileRecord, root: Path | None, partial: Path, artifact: str
) -> Damage | None:
    landing = partial / uuid.uuid4().hex
    problem = ""
    with one_line_errors(landing):
        try:
            for _ in range(DOWNLOAD_TRIES):
                if not mover.download(f"{prefix}/{file.path}", landing, file.bytes):
                    return Damage(artifact, file.path, "the file is missing")
                problem = difference(file, landing)
                if not problem:
                    if root is not None:
                        (root / file.path).parent.mkdir(parents=True, exist_ok=True)
                        landing.replace(root / file.path)
                    return None
        finally:
            landing.unlink(missing_ok=True)
    return Damage(artifact, file.path, problem)


def difference(file: FileRecord, path: Path) -> str:
    """How the file at `path` differs from its record, in one phrase; empty when it does not."""
    try:
        size = path.stat().st_size
        if size != file.bytes:
            return f"expected {file.bytes:,} bytes, found {size:,}"
        found = sha256_of(path)
    except FileNotFoundError:
        return "the file is missing"
    except OSError as error:
        return f"the file cannot be read ({error.strerror})"
    return "" if found == file.sha256 else f"expected sha256 {file.sha256}, found {found}"


def _files_below(root: Path) -> Iterable[Path]:
    for folder, folders, names in os.walk(root):
        for name in [*folders, *names]:
            path = Path(folder) / name
            if path.is_symlink():
                raise StoreError(f"{path} is a symbolic link; an artifact holds plain files, copy what it points to")
        for name in names:
            path = Path(folder) / name
            try:
                safe_path(path.relative_to(root).as_posix())
            except ValueError as error:
                raise StoreError(f"{root}: {error}; rename this output file") from error
            yield path
