"""Destination `folder`: `<url>/<namespace>/<name>/files`, laid out like the Hub, in a local folder or a bucket.

Guarantees: only files that differ are written; the index never lists a file that is not there with that content,
however a publication ends (it is written without what is about to change, then in full at the end); a file that
vanished is written again. Nothing in it depends on where the folder is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from artifacts.folder import FolderStorage
from artifacts.location import store_location
from artifacts.storage import Storage
from artifacts.transfer import at_once
from core.publishing.repository import CARD, INDEX, Published, Repository, RepositoryFile, decode_index, encode_index
from core.stages.context import StageError


class FolderDestination:
    """Repositories below one URL."""

    def __init__(self, url: str, scratch: Path) -> None:
        """`scratch` is a folder for files on their way; raises `StageError` when there is no URL."""
        if not url:
            raise StageError("there is no place to publish to; set MINISERIES_HUB to a folder or s3://bucket/prefix")
        self._storage = open_storage(url)
        self._scratch = scratch

    def publish(self, repository: Repository) -> Published:
        """Write what differs, remove what an earlier publication left behind; `url` is relative to the destination."""
        index = self._storage.read(f"{repository.id}/{INDEX}")
        known = self._sound(repository.id, decode_index(index.content)) if index else {}
        changed = [file for file in repository.files if known.get(file.path) != file.sha256]
        removed = sorted(known.keys() - repository.hashes.keys())
        if changed or removed or index is None or index.content != repository.index:
            kept = known.keys() - {*removed, *(file.path for file in changed)}
            self._write_index(repository, {path: known[path] for path in kept})
            self._storage.delete([f"{repository.id}/{path}" for path in removed])
            self._write(repository, changed)
            self._write_index(repository, repository.hashes)
        return Published(repository.id, None, len(changed), len(removed))

    def _sound(self, repository_id: str, listed: Mapping[str, str]) -> dict[str, str]:
        """The files of an index that are there."""
        there = {found.path for found in self._storage.listing(repository_id)}
        return {path: sha256 for path, sha256 in listed.items() if f"{repository_id}/{path}" in there}

    def _write(self, repository: Repository, files: list[RepositoryFile]) -> None:
        """Write files, the card after all others: whoever finds it finds what it describes."""

        def upload(file: RepositoryFile) -> None:
            self._storage.upload(file.source, f"{repository.id}/{file.path}")

        at_once(upload, [file for file in files if file.path != CARD])
        at_once(upload, [file for file in files if file.path == CARD])

    def _write_index(self, repository: Repository, hashes: Mapping[str, str]) -> None:
        staged = self._scratch / INDEX
        staged.write_bytes(encode_index(hashes))
        self._storage.upload(staged, f"{repository.id}/{INDEX}")


def open_storage(url: str) -> Storage:
    """The folder or bucket that `url` names; raises `StoreError` for another kind of URL."""
    location = store_location(url)
    if location.folder is not None:
        return FolderStorage(location.folder, location.url)
    from artifacts.bucket import BucketStorage  # here, because importing s3fs takes a second that folders need not pay

    return BucketStorage(location.bucket, location.prefix, location.url)
