"""Destination `folder`: `<url>/<namespace>/<name>/files`, laid out like the Hub, in a local folder or a bucket.

Guarantees: only files that differ are written; the index never lists a file that is not there with that content,
however a publication ends (it is written without what is about to change, then in full at the end); a file that
vanished or was cut short is written again. Nothing in it depends on where the folder is.

What the Hub keeps as tags and collections are small records here: `<name>/.versions/v{n}.json`, the index of each
version, and `<namespace>/.collections/<title>/<name>.json`. Who may read is for the folder's owner to say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from artifacts.transfer import at_once
from core.publishing.place import open_place
from core.publishing.published import PublishedFiles, open_published
from core.publishing.repository import (
    CARD,
    INDEX,
    Difference,
    Published,
    Repository,
    RepositoryFile,
    decode_index,
    decode_version,
    encode_index,
    next_version,
)
from core.stages.context import StageError

VERSIONS = ".versions"
COLLECTIONS = ".collections"


@dataclass(frozen=True)
class Standing:
    """What the folder has of one repository: its index, and the size of every file below it."""

    index: bytes
    sizes: Mapping[str, int]

    @property
    def version(self) -> int:
        """Of the index."""
        return decode_version(self.index)

    @property
    def versions(self) -> list[str]:
        """Names of the versions on record: v1, v2..."""
        return [Path(path).stem for path in self.sizes if Path(path).parent == Path(VERSIONS)]


class FolderDestination:
    """Repositories below one URL."""

    def __init__(self, url: str, scratch: Path) -> None:
        """`scratch` is a folder for files on their way; raises `StageError` when there is no URL."""
        if not url:
            raise StageError("there is no place to publish to; set MINISERIES_HUB to a folder or s3://bucket/prefix")
        self._url = url
        self._place = open_place(url)
        self._scratch = scratch

    def compare(self, repository: Repository) -> Difference:
        """By the index that stands there, and sizes."""
        there = self._look(repository)
        return _difference(repository, there, _known(repository, there, ()))

    def published(self, repository: Repository) -> PublishedFiles:
        """A folder or a bucket's prefix."""
        return open_published(f"{self._url}/{repository.id}", self._scratch / "published" / repository.id)

    def publish(self, repository: Repository, distrusted: Collection[str] = ()) -> Published:
        """Write what differs, remove what an earlier publication left behind; `url` is relative to the destination."""
        there = self._look(repository)
        known = _known(repository, there, distrusted)
        difference = _difference(repository, there, known)
        version = there.version
        if difference:
            version = next_version(there.version, there.versions)
            kept = known.keys() - {*difference.removed, *(file.path for file in difference.changed)}
            self._write_small(repository, INDEX, encode_index({path: known[path] for path in kept}, there.version))
            self._place.delete([f"{repository.id}/{path}" for path in difference.removed])
            self._write(repository, difference.changed)
            self._write_small(repository, INDEX, encode_index(repository.hashes, version))
        if f"v{version}" not in there.versions:
            self._write_small(repository, f"{VERSIONS}/v{version}.json", encode_index(repository.hashes, version))
        return Published(
            url=repository.id,
            commit=None,
            version=version,
            written=len(difference.changed),
            removed=len(difference.removed),
        )

    def release(self, repositories: Sequence[Repository], collection: str | None) -> None:
        """Put each on record as a member of the collection; nothing here is hidden, so nothing is to be shown."""
        if collection is None:
            return
        folder = f"{COLLECTIONS}/{re.sub(r'[^a-z0-9]+', '-', collection.lower()).strip('-')}"
        for repository in repositories:
            namespace, _, name = repository.id.partition("/")
            content = json.dumps({"collection": collection, "repository": repository.id}).encode() + b"\n"
            path = f"{namespace}/{folder}/{name}.json"
            found = self._place.read(path)
            if found is None or found.content != content:
                self._upload(content, path)

    def _look(self, repository: Repository) -> Standing:
        prefix = f"{repository.id}/"
        index = self._place.read(f"{prefix}{INDEX}")
        sizes = {found.path.removeprefix(prefix): found.bytes for found in self._place.listing(repository.id)}
        return Standing(index.content if index else b"", sizes)

    def _write(self, repository: Repository, files: Sequence[RepositoryFile]) -> None:
        """Write files, the card after all others: whoever finds it finds what it describes."""

        def upload(file: RepositoryFile) -> None:
            self._place.upload(file.source, f"{repository.id}/{file.path}")

        at_once(upload, [file for file in files if file.path != CARD])
        at_once(upload, [file for file in files if file.path == CARD])

    def _write_small(self, repository: Repository, path: str, content: bytes) -> None:
        self._upload(content, f"{repository.id}/{path}")

    def _upload(self, content: bytes, path: str) -> None:
        staged = self._scratch / INDEX
        staged.write_bytes(content)
        self._place.upload(staged, path)


def _known(repository: Repository, there: Standing, distrusted: Collection[str]) -> dict[str, str]:
    """The files of an index that are there, and no shorter or longer than those that should be."""
    expected = {**there.sizes, **{file.path: file.bytes for file in repository.files}}
    return {
        path: sha256
        for path, sha256 in decode_index(there.index).items()
        if path in there.sizes and there.sizes[path] == expected[path] and path not in distrusted
    }


def _difference(repository: Repository, there: Standing, known: Mapping[str, str]) -> Difference:
    return Difference(
        version=there.version,
        changed=tuple(file for file in repository.files if known.get(file.path) != file.sha256),
        removed=tuple(sorted(known.keys() - repository.hashes.keys())),
        relisted=there.index != encode_index(repository.hashes, there.version) or not there.version,
    )
