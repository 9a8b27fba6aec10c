"""A repository to publish: an id and the files it consists of, the same for every destination.

Beside the files stands an index of them with their sha256. A destination writes it last, so that what it lists is
there, and reads it back to tell which files an earlier publication left: those that are gone now are removed, and
nothing that anybody else put there is touched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from artifacts.transfer import at_once, sha256_of

CARD = "README.md"
INDEX = ".miniseries.json"


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
    def hashes(self) -> dict[str, str]:
        """sha256 of every file by path."""
        return {file.path: file.sha256 for file in self.files}

    @property
    def index(self) -> bytes:
        """Content of the index."""
        return encode_index(self.hashes)


@dataclass(frozen=True)
class Published:
    """What a destination did: where the repository is now, at which commit, and how many files had to change."""

    url: str
    commit: str | None
    written: int
    removed: int


class Destination(Protocol):
    """A place that holds repositories. Publishing the same one again changes nothing."""

    def publish(self, repository: Repository) -> Published:
        """Make the repository there equal to this one; raises `StageError` or `StoreError` when that fails."""


def describe_files(contents: Mapping[str, Path]) -> tuple[RepositoryFile, ...]:
    """Measure and hash the files of a repository, given by path; sorted."""

    def describe(item: tuple[str, Path]) -> RepositoryFile:
        path, source = item
        return RepositoryFile(path, source, source.stat().st_size, sha256_of(source))

    return tuple(at_once(describe, sorted(contents.items())))


def encode_index(hashes: Mapping[str, str]) -> bytes:
    """The index that lists these files."""
    return (json.dumps({"files": dict(sorted(hashes.items()))}, indent=1) + "\n").encode()


def decode_index(content: bytes) -> dict[str, str]:
    """sha256 by path; empty for content that is no index, since what cannot be read claims nothing."""
    try:
        files = json.loads(content)["files"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {str(path): str(sha256) for path, sha256 in files.items()} if isinstance(files, dict) else {}
