"""The few object operations that the store is built on, and the promises every implementation keeps.

- A reader sees an object whole or not at all.
- `create` succeeds for exactly one of any number of racing writers; so does `replace` of one version.
- Contents given to `create` and `replace` are unique to their writer (they embed a random nonce): when an
  answer is lost on the way and the repeated request is refused, reading the object back tells whose write won.
- Nothing renames, appends or relies on conditional delete, copy or multipart, which many S3 servers lack.
- Whatever goes wrong is a `StoreUnavailable` with one line.

Paths are relative to the store, with `/`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Versioned:
    """An object's bytes and the version that a conditional replacement must name."""

    content: bytes
    version: str


@dataclass(frozen=True)
class Listed:
    """One object of a listing. `stamp` changes when the object is written again (ETag; empty where files tell)."""

    path: str
    bytes: int
    stamp: str


class Storage(Protocol):
    """A folder or a bucket."""

    url: str

    def read(self, path: str) -> Versioned | None:
        """Return a small object, None when there is none."""

    def create(self, path: str, content: bytes) -> str | None:
        """Write a small object that must not exist; return its version, None when it exists already."""

    def replace(self, path: str, content: bytes, version: str) -> str | None:
        """Write a small object that must still have `version`; return the new one, None when it was changed."""

    def delete(self, paths: Iterable[str]) -> None:
        """Remove objects; those that do not exist are as good as removed."""

    def listing(self, prefix: str) -> list[Listed]:
        """Return every object below the folder `prefix` ("" for all), sorted by path, in one recursive listing."""

    def upload(self, source: Path, path: str) -> None:
        """Write a file of any size, unconditionally; on return it is durable."""

    def download(self, path: str, target: Path, size: int) -> bool:
        """Copy an object of about `size` bytes into the file `target`; False when there is none."""

    def local(self, path: str) -> Path | None:
        """Return where `path` is on this machine's file system, None when it is not."""
