"""A store in a local folder (or on a shared file system with locks and hard links).

Objects are written beside the tree in `.store/staging`, flushed to disk, and only then linked or renamed into place, so
that a process killed at any moment leaves an old object, a new one, or none. A replacement compares and
renames under a file lock, which the kernel releases when its holder dies.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from artifacts.errors import StoreUnavailable
from artifacts.storage import Listed, Versioned

PRIVATE = ".store"  # staging and locks; never listed
LOCKS = 64  # lock files; objects share them by hash
ABANDONED_SECONDS = 24 * 3600.0  # a half-written file this old belongs to a process that died

EXPLANATIONS = {
    errno.ENOSPC: "the disk is full; free some space and run again",
    errno.EDQUOT: "the disk quota is used up; free some space and run again",
    errno.EROFS: "the file system is read-only; set MINISERIES_STORE to a folder that can be written",
    errno.EACCES: "permission denied; set MINISERIES_STORE to a folder that you can write",
    errno.EPERM: "the operation is not permitted; set MINISERIES_STORE to a folder that you can write",
    errno.ENOTDIR: "a file stands where a folder should be; move it away or set MINISERIES_STORE to another folder",
    errno.EEXIST: "a file stands where a folder should be; move it away or set MINISERIES_STORE to another folder",
}


@contextmanager
def one_line_errors(where: object) -> Iterator[None]:
    """Turn an `OSError` into a `StoreUnavailable` that says what happened to `where`."""
    try:
        yield
    except OSError as error:
        why = EXPLANATIONS.get(error.errno or 0, f"{error.strerror or error}; check the disk and run again")
        raise StoreUnavailable(f"store folder {error.filename2 or error.filename or where}: {why}") from error


class FolderStorage:
    """`Storage` in the folder `root`, which is made when first written to."""

    def __init__(self, root: Path, url: str) -> None:
        self.url = url
        self._root = root

    def local(self, path: str) -> Path:
        """The object's file."""
        return self._root / path

    def read(self, path: str) -> Versioned | None:
        """Return the object; its version is the sha256 of its bytes."""
        with one_line_errors(self._root / path):
            try:
                content = (self._root / path).read_bytes()
            except FileNotFoundError:
                return None
        return Versioned(content, _version(content))

    def create(self, path: str, content: bytes) -> str | None:
        """Link a finished file to its name: the link fails for all writers but one."""
        with one_line_errors(self._root / path), self._staged(content) as staged:
            target = self._root / path
            try:
                _enter(target, lambda: os.link(staged, target))
            except FileExistsError:
                if target.parent.is_dir():
                    return None
                raise
        return _version(content)

    def replace(self, path: str, content: bytes, version: str) -> str | None:
        """Compare and rename while holding the object's lock."""
        with one_line_errors(self._root / path), self._staged(content) as staged, self._locked(path):
            current = self.read(path)
            if current is None or current.version != version:
                return None
            target = self._root / path
            staged.replace(target)
            flush(target.parent)
        return _version(content)

    def delete(self, paths: Iterable[str]) -> None:
        """Unlink files and the folders that this leaves empty."""
        for path in paths:
            target = self._root / path
            with one_line_errors(target):
                target.unlink(missing_ok=True)
                self._prune(target.parent)

    def listing(self, prefix: str) -> list[Listed]:
        """Walk the tree below `prefix`."""
        found: list[Listed] = []
        with one_line_errors(self._root / prefix):
            self._walk(self._root / prefix, prefix, found)
        return sorted(found, key=lambda listed: listed.path)

    def upload(self, source: Path, path: str) -> None:
        """Copy, flush, rename into place."""
        target = self._root / path
        with one_line_errors(target), self._stage() as staged:
            remove_abandoned(staged.parent)
            shutil.copyfile(source, staged)
            flush(staged)
            _enter(target, lambda: os.replace(staged, target))

    def download(self, path: str, target: Path, size: int) -> bool:
        """Copy the object's file."""
        with one_line_errors(self._root / path):
            try:
                shutil.copyfile(self._root / path, target)
            except FileNotFoundError:
                return False
        return True

    def _walk(self, folder: Path, prefix: str, found: list[Listed]) -> None:
        """Append what is below `folder`; what vanishes while we look was never there."""
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            return
        for entry in entries:
            path = f"{prefix}/{entry.name}" if prefix else entry.name
            if entry.is_dir(follow_symlinks=False):
                if path != PRIVATE:
                    self._walk(Path(entry.path), path, found)
                continue
            with suppress(FileNotFoundError):
                found.append(Listed(path, entry.stat(follow_symlinks=False).st_size, ""))

    @contextmanager
    def _stage(self) -> Iterator[Path]:
        """A new name in the staging folder; whatever is left there is removed."""
        staging = self._root / PRIVATE / "staging"
        staging.mkdir(parents=True, exist_ok=True)
        path = staging / uuid.uuid4().hex
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def _staged(self, content: bytes) -> Iterator[Path]:
        """`content` in a file of its own, on disk."""
        with self._stage() as path:
            with path.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            yield path

    @contextmanager
    def _locked(self, path: str) -> Iterator[None]:
        """Hold the lock that `path` shares with 1/64 of all objects."""
        number = int.from_bytes(hashlib.sha256(path.encode()).digest()[:4]) % LOCKS
        lock = self._root / PRIVATE / "locks" / f"{number:02d}"
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)  # releases the lock

    def _prune(self, folder: Path) -> None:
        """Remove `folder` and its parents as far as they are empty, up to the root."""
        while folder != self._root and self._root in folder.parents:
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass  # gone already: its parents may still be empty
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    return
                raise
            folder = folder.parent


def remove_abandoned(folder: Path) -> None:
    """Remove the files in `folder` that nobody has written to for a day."""
    oldest = time.time() - ABANDONED_SECONDS
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # its writer has just finished with it
            if path.stat().st_mtime < oldest:
                path.unlink()


def flush(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_tree(root: Path) -> None:
    """Wait until every file below `root` and every name of one is on disk."""
    for folder, _, files in os.walk(root):
        for name in files:
            flush(Path(folder) / name)
        flush(Path(folder))
    flush(root.parent)


def _enter(target: Path, put: Callable[[], None]) -> None:
    """`put` the object in its folder, made if need be; again if a concurrent deletion took the empty folder away."""
    for _ in range(10):
        _make_folder(target.parent)
        try:
            put()
        except FileNotFoundError:
            continue
        flush(target.parent)
        return
    raise FileNotFoundError(errno.ENOENT, "the folder keeps disappearing", str(target.parent))


def _make_folder(folder: Path) -> None:
    """Make `folder` and its parents, and wait until their names are on disk."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    flush(folder.parent)


def _version(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
