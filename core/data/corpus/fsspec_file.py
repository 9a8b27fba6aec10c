"""One file behind an fsspec URL: a bucket, a web server, a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import fsspec

from artifacts.bucket_errors import is_transient
from core.data.corpus.transfer import Announced, Body, TransferBroken
from core.stages.context import StageUnavailable

PIECE = 1 << 20  # bytes
VERSIONS = ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified")  # the first that a file system knows


class NotThereError(Exception):
    """There is no such file."""


@dataclass(frozen=True, kw_only=True)
class FsspecFile:
    """The file at `url`, which people know as `name`."""

    url: str
    name: str

    def announced(self) -> Announced:
        """Its size and version; a file system vouches for no sha256."""
        with _errors(self.url):
            filesystem, path = fsspec.core.url_to_fs(self.url)
            filesystem.invalidate_cache()
            found = filesystem.info(path)
        return Announced(size=found["size"], sha256=None, version=version_of(found))

    @contextmanager
    def open(self, offset: int) -> Iterator[Body]:
        """Read from `offset` on."""
        with _errors(self.url):
            file = fsspec.open(self.url, "rb").open()
        with file:
            yield Body(offset, _pieces(file, self.url, offset))


def version_of(entry: Mapping[str, object]) -> str | None:
    """What changes when a listed file does: its ETag or checksum where there is one, else when it was written."""
    return next((str(entry[name]).strip('"') for name in VERSIONS if entry.get(name)), None)


def _pieces(file: IO[bytes], url: str, offset: int) -> Iterator[bytes]:
    with _errors(url):
        file.seek(offset)
    while True:
        with _errors(url):
            piece = file.read(PIECE)
        if not piece:
            return
        yield piece


@contextmanager
def _errors(url: str) -> Iterator[None]:
    """fsspec's errors, told apart by whether they pass."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotThereError(f"{url} is not there") from error
    except Exception as error:  # every file system has exceptions of its own
        if isinstance(error, PermissionError | ImportError) or not is_transient(error):
            raise StageUnavailable(f"{url} cannot be read: {reason(error)}; check the URL and its access") from error
        raise TransferBroken(f"{url}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """The first line of what an exception says, or its type."""
    return (str(error).splitlines() or [type(error).__name__])[0]
