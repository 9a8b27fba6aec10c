"""A repository to publish: an id and the files it consists of, the same for every destination.

Beside the files stands an index of them with their sha256 and the number of the version. A destination writes it last,
so that what it lists is there, and reads it back to tell which files an earlier publication left: those that are gone
now are removed, and nothing that anybody else put there is touched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from artifacts.transfer import at_once, sha256_of
from core.publishing.published import PublishedFiles

CARD = "README.md"
INDEX = ".miniseries.json"
VERSION = re.compile(r"v(\d+)")


@dataclass(frozen=True)
class RepositoryFile:
    """One file: its path in the repository, where its bytes are now, and what they are."""

    path: str
    source: Path
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Repository:
    """`files` by path, the card after all others; the index is not among them."""

    id: str  # namespace/name
    private: bool
    files: tuple[RepositoryFile, ...]

    @property
    def namespace(self) -> str:
        """Who it belongs to."""
        return self.id.partition("/")[0]

    @property
    def hashes(self) -> dict[str, str]:
        """sha256 of every file by path."""
        return {file.path: file.sha256 for file in self.files}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What tells a repository from what stands at its destination."""

    version: int  # of what stands there; 0: nothing
    changed: tuple[RepositoryFile, ...]  # to be written
    removed: tuple[str, ...]  # left by an earlier publication
    relisted: bool  # the index there says something else

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed or self.relisted)


@dataclass(frozen=True, kw_only=True)
class Published:
    """Where a repository is now, at which commit and version, and how many files had to change."""

    url: str
    commit: str | None
    version: int
    written: int
    removed: int


class Destination(Protocol):
    """A place that holds repositories. Publishing the same ones again changes nothing, however the last time ended."""

    def compare(self, repository: Repository) -> Difference:
        """Say what publishing would change, from the bytes that stand there; raises as `publish` does."""

    def published(self, repository: Repository) -> PublishedFiles:
        """What stands there, to be read by anybody."""

    def publish(self, repository: Repository, distrusted: Collection[str] = ()) -> Published:
        """Make the repository there equal to this one, as a new version if anything differs.

        `distrusted` files are written again whatever the index there says. One that is new stays private until
        `release`. Raises `StageError` or `StoreError` when that fails.
        """

    def release(self, repositories: Sequence[Repository], collection: str | None) -> None:
        """Once all are in: show those that are not private, and list them in the collection of that title."""


def describe_files(contents: Mapping[str, Path]) -> tuple[RepositoryFile, ...]:
    """Measure and hash the files of a repository, given by path; sorted."""

    def describe(item: tuple[str, Path]) -> RepositoryFile:
        path, source = item
        return RepositoryFile(path, source, source.stat().st_size, sha256_of(source))

    return tuple(at_once(describe, sorted(contents.items())))


def encode_index(hashes: Mapping[str, str], version: int) -> bytes:
    """The index that lists these files as this version."""
    return (json.dumps({"version": version, "files": dict(sorted(hashes.items()))}, indent=1) + "\n").encode()


def decode_index(content: bytes) -> dict[str, str]:
    """sha256 by path; empty for content that is no index, since what cannot be read claims nothing."""
    files = _member(content, "files")
    return {str(path): str(sha256) for path, sha256 in files.items()} if isinstance(files, dict) else {}


def decode_version(content: bytes) -> int:
    """The version that an index is of; 0 for content that is no index, or one from before versions were counted."""
    version = _member(content, "version")
    return version if isinstance(version, int) else 0


def next_version(version: int, names: Iterable[str]) -> int:
    """One more than `version` and every `v{n}` among `names`, so that no number is given twice."""
    return 1 + max([version, *(int(found[1]) for name in names if (found := VERSION.fullmatch(name)))])


def _member(content: bytes, name: str) -> object:
    try:
        document = json.loads(content)
    except ValueError:
        return None
    return document.get(name) if isinstance(document, dict) else None
