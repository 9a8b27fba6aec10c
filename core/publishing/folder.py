"""Destination `folder`: `<url>/<namespace>/<name>/files`, laid out like the Hub, in a local folder or a bucket.

Guarantees: only files that differ are written; the index never lists a file that is not there with that content,
however a publication ends (it is written without what is about to change, then in full at the end); a file that
vanished or was cut short is written again. Nothing in it depends on where the folder is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from artifacts.transfer import at_once
from core.publishing.place import open_place
from core.publishing.repository import CARD, INDEX, Published, Repository, RepositoryFile, decode_index, encode_index
from core.stages.context import StageError


class FolderDestination:
    """Repositories below one URL."""

    def __init__(self, url: str, scratch: Path) -> None:
        """`scratch` is a folder for files on their way; raises `StageError` when there is no URL."""
        if not url:
            raise StageError("there is no place to publish to; set MINISERIES_HUB to a folder or s3://bucket/prefix")
        self._place = open_place(url)
        self._scratch = scratch

    def publish(self, repository: Repository) -> Published:
        """Write what differs, remove what an earlier publication left behind; `url` is relative to the destination."""
        index = self._place.read(f"{repository.id}/{INDEX}")
        known = self._sound(repository, decode_index(index.content)) if index else {}
        changed = [file for file in repository.files if known.get(file.path) != file.sha256]
        removed = sorted(known.keys() - repository.hashes.keys())
        if changed or removed or index is None or index.content != repository.index:
            kept = known.keys() - {*removed, *(file.path for file in changed)}
            self._write_index(repository, {path: known[path] for path in kept})
            self._place.delete([f"{repository.id}/{path}" for path in removed])
            self._write(repository, changed)
            self._write_index(repository, repository.hashes)
        return Published(repository.id, None, len(changed), len(removed))

    def _sound(self, repository: Repository, listed: Mapping[str, str]) -> dict[str, str]:
        """The files of an index that are there, and no shorter or longer than those that should be."""
        prefix = f"{repository.id}/"
        there = {found.path.removeprefix(prefix): found.bytes for found in self._place.listing(repository.id)}
        expected = there | {file.path: file.bytes for file in repository.files}
        return {path: sha256 for path, sha256 in listed.items() if path in there and there[path] == expected[path]}

    def _write(self, repository: Repository, files: list[RepositoryFile]) -> None:
        """Write files, the card after all others: whoever finds it finds what it describes."""

        def upload(file: RepositoryFile) -> None:
            self._place.upload(file.source, f"{repository.id}/{file.path}")

        at_once(upload, [file for file in files if file.path != CARD])
        at_once(upload, [file for file in files if file.path == CARD])

    def _write_index(self, repository: Repository, hashes: Mapping[str, str]) -> None:
        staged = self._scratch / INDEX
        staged.write_bytes(encode_index(hashes))
        self._place.upload(staged, f"{repository.id}/{INDEX}")
