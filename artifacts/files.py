"""Where an artifact's bytes are, how they get there, and how they are checked: in place, or through a cache.

A store in a folder is used in place: a stage writes straight into `files/<attempt>/`, readers get that folder. A bucket
is written from a local folder and read through the cache. Both check in three depths: `fetch` before use, `glance`
to decide whether a stage is cached, `audit` to read every byte of the store again.
"""

from __future__ import annotations

import json
import logging
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from artifacts.copies import Hold, LocalCopies, Room
from artifacts.errors import Damage, StoreUnavailable
from artifacts.folder import FolderStorage, flush_tree, one_line_errors
from artifacts.manifest import FileRecord, Manifest
from artifacts.storage import Listed, Storage
from artifacts.transfer import download_files, upload_files
from artifacts.verification import VerifiedFiles

log = logging.getLogger("miniseries.artifacts")


def attempt_prefix(folder: str, attempt: str) -> str:
    """Where an attempt at an artifact leaves its files, relative to the store."""
    return f"{folder}/files/{attempt}"


class ArtifactFiles(Protocol):
    """The files of one store's artifacts; `folder` is an artifact's folder relative to the store."""

    def staging(self, folder: str, attempt: str, work: Path) -> Path:
        """Where an attempt writes its output; `work` is a private local folder for the attempt."""

    def publish(self, folder: str, attempt: str, output: Path, files: Sequence[FileRecord]) -> None:
        """Make the output durable in the store, not yet committed."""

    def keep(self, folder: str, attempt: str, output: Path) -> None:
        """The attempt was committed: use its output for reading if that saves a download."""

    def withdraw(self, folder: str, attempt: str) -> None:
        """Remove everything of an attempt that will not be committed, or is no longer."""

    def location(self, folder: str, attempt: str) -> str:
        """Where a person finds the files."""

    def root(self, folder: str, attempt: str) -> Path:
        """The local folder that readers get."""

    def hold(self, folder: str, attempt: str) -> Hold:
        """Keep `root` from being removed to make room."""

    def fetch(self, folder: str, manifest: Manifest, wanted: Sequence[FileRecord], room: Room) -> list[Damage]:
        """Bring files to `root`, which is held, and check them; what is remembered as checked is not hashed again.

        Raises `CacheFull` when there is no room.
        """

    def glance(self, folder: str, manifest: Manifest) -> list[Damage]:
        """Check without moving data: all there, right sizes, and unchanged since they were last hashed."""

    def audit(self, folder: str, manifest: Manifest) -> list[Damage]:
        """Hash every byte that the store holds."""


class FilesInPlace:
    """Artifacts of a store in a local folder."""

    def __init__(self, storage: FolderStorage, cache: Path) -> None:
        self._storage = storage
        self._cache = cache

    def staging(self, folder: str, attempt: str, work: Path) -> Path:
        """The final place: nothing is moved at the commit."""
        return self.root(folder, attempt)

    def publish(self, folder: str, attempt: str, output: Path, files: Sequence[FileRecord]) -> None:
        """Flush the files to disk."""
        with one_line_errors(output):
            flush_tree(output)

    def keep(self, folder: str, attempt: str, output: Path) -> None:
        """Already there."""

    def withdraw(self, folder: str, attempt: str) -> None:
        """Remove the folder."""
        with one_line_errors(self.root(folder, attempt)):
            shutil.rmtree(self.root(folder, attempt), ignore_errors=False, onerror=_unless_missing)

    def location(self, folder: str, attempt: str) -> str:
        """A plain path."""
        return str(self.root(folder, attempt))

    def root(self, folder: str, attempt: str) -> Path:
        """The folder in the store."""
        return self._storage.local(attempt_prefix(folder, attempt))

    def hold(self, folder: str, attempt: str) -> Hold:
        """Nobody removes them to make room, and garbage collection not while a run needs them."""
        return Hold()

    def fetch(self, folder: str, manifest: Manifest, wanted: Sequence[FileRecord], room: Room) -> list[Damage]:
        """Check where they are."""
        return self._check(folder, manifest, wanted, afresh=False)

    def glance(self, folder: str, manifest: Manifest) -> list[Damage]:
        """The same: stamps tell whether hashing is needed."""
        return self._check(folder, manifest, manifest.files, afresh=False)

    def audit(self, folder: str, manifest: Manifest) -> list[Damage]:
        """Hash all."""
        return self._check(folder, manifest, manifest.files, afresh=True)

    def _check(self, folder: str, manifest: Manifest, files: Sequence[FileRecord], *, afresh: bool) -> list[Damage]:
        memory = VerifiedFiles(self._cache / "verified" / folder / f"{manifest.attempt}.json")
        return memory.check(folder, self.root(folder, manifest.attempt), files, afresh=afresh)


class FilesThroughCache:
    """Artifacts of a store in a bucket, with at most `limit` bytes of copies in the local folder `cache`."""

    def __init__(self, storage: Storage, cache: Path, limit: int) -> None:
        self._storage = storage
        self._cache = cache
        self._copies = LocalCopies(cache, limit)

    def staging(self, folder: str, attempt: str, work: Path) -> Path:
        """A local folder."""
        return work / "output"

    def publish(self, folder: str, attempt: str, output: Path, files: Sequence[FileRecord]) -> None:
        """Upload, then list what arrived."""
        prefix = attempt_prefix(folder, attempt)
        upload_files(self._storage, output, files, prefix)
        listed = self._listed(folder, attempt)
        for file in files:
            arrived = listed.get(file.path)
            if arrived is None or arrived.bytes != file.bytes:
                found = "nothing" if arrived is None else f"{arrived.bytes:,} bytes"
                raise StoreUnavailable(
                    f"{self._storage.url}/{prefix}/{file.path}: uploaded {file.bytes:,} bytes, "
                    f"the store has {found}; run again"
                )
        self._remember(folder, attempt, {path: entry.stamp for path, entry in listed.items()})

    def keep(self, folder: str, attempt: str, output: Path) -> None:
        """Move the output into the cache."""
        root, size = self.root(folder, attempt), sum(path.stat().st_size for path in output.rglob("*"))
        try:
            with self._copies.hold(_copy(folder, attempt)), one_line_errors(root):
                self._copies.make_room(_copy(folder, attempt), size, Room())
                root.parent.mkdir(parents=True, exist_ok=True)
                output.rename(root)
        except StoreUnavailable as error:
            log.warning("%s is not kept in the cache (%s): its next reader downloads it", folder, error)

    def withdraw(self, folder: str, attempt: str) -> None:
        """Delete what was uploaded and the cached copy."""
        self._storage.delete(entry.path for entry in self._storage.listing(attempt_prefix(folder, attempt)))
        self._copies.remove(_copy(folder, attempt))

    def location(self, folder: str, attempt: str) -> str:
        """A URL."""
        return f"{self._storage.url}/{attempt_prefix(folder, attempt)}"

    def root(self, folder: str, attempt: str) -> Path:
        """The cached copy."""
        return self._copies.path(_copy(folder, attempt))

    def hold(self, folder: str, attempt: str) -> Hold:
        """Its lock, shared with everybody who uses it."""
        return self._copies.hold(_copy(folder, attempt))

    def fetch(self, folder: str, manifest: Manifest, wanted: Sequence[FileRecord], room: Room) -> list[Damage]:
        """Check the cached copy and download what it lacks or has wrong, unless another process is about to."""
        attempt, root, copy = manifest.attempt, self.root(folder, manifest.attempt), _copy(folder, manifest.attempt)
        memory = VerifiedFiles(self._cache / "verified" / folder / f"{attempt}.json")
        with self._copies.filling(copy):
            damaged = {damage.file for damage in memory.check(folder, root, wanted, afresh=False)}
            lacking = [file for file in wanted if file.path in damaged]
            kept = [file for file in manifest.files if file in wanted or (root / file.path).exists()]
            self._copies.make_room(copy, sum(file.bytes for file in kept), room)
            with one_line_errors(root):
                root.mkdir(parents=True, exist_ok=True)
                for file in lacking:
                    (root / file.path).unlink(missing_ok=True)
            return self._download(folder, attempt, lacking, root) if lacking else []

    def glance(self, folder: str, manifest: Manifest) -> list[Damage]:
        """One listing; a file written again since it was last verified is downloaded to see whether it is the same."""
        listed, remembered = self._listed(folder, manifest.attempt), self._recall(folder, manifest.attempt)
        damages, rewritten = [], []
        for file in manifest.files:
            entry = listed.get(file.path)
            if entry is None:
                damages.append(Damage(folder, file.path, "the file is missing"))
            elif entry.bytes != file.bytes:
                damages.append(Damage(folder, file.path, f"expected {file.bytes:,} bytes, found {entry.bytes:,}"))
            elif remembered.get(file.path, entry.stamp) != entry.stamp:
                rewritten.append(file)
        return damages + (self._download(folder, manifest.attempt, rewritten, None) if rewritten else [])

    def audit(self, folder: str, manifest: Manifest) -> list[Damage]:
        """Download every file, hash it, drop it."""
        return self._download(folder, manifest.attempt, manifest.files, None)

    def _download(self, folder: str, attempt: str, files: Sequence[FileRecord], root: Path | None) -> list[Damage]:
        """Verified downloads; the stamps that the store's objects had are remembered for those that were right."""
        stamps = {path: entry.stamp for path, entry in self._listed(folder, attempt).items()}
        partial = self._cache / "partial" if root is None else self._copies.arriving(_copy(folder, attempt))
        damages = download_files(self._storage, attempt_prefix(folder, attempt), files, root, partial, folder)
        wrong = {damage.file for damage in damages}
        right = {file.path: stamps[file.path] for file in files if file.path not in wrong and file.path in stamps}
        self._remember(folder, attempt, self._recall(folder, attempt) | right)
        return damages

    def _listed(self, folder: str, attempt: str) -> dict[str, Listed]:
        prefix = attempt_prefix(folder, attempt)
        return {entry.path.removeprefix(f"{prefix}/"): entry for entry in self._storage.listing(prefix)}

    def _memory(self, folder: str, attempt: str) -> Path:
        return self._cache / "verified" / folder / f"{attempt}.stamps.json"

    def _recall(self, folder: str, attempt: str) -> dict[str, str]:
        """Stamps of verified objects by path; empty when nothing readable is remembered."""
        try:
            values = json.loads(self._memory(folder, attempt).read_bytes())
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    def _remember(self, folder: str, attempt: str, stamps: dict[str, str]) -> None:
        memory = self._memory(folder, attempt)
        part = memory.with_name(f"{memory.name}.{uuid.uuid4().hex}")
        with one_line_errors(memory):
            memory.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(stamps), encoding="utf-8")
            part.replace(memory)


def _copy(folder: str, attempt: str) -> str:
    """The name of an attempt's copy in the cache."""
    return f"{folder}/{attempt}"


def _unless_missing(_: object, __: object, failure: tuple[type[BaseException], BaseException, object]) -> None:
    """For rmtree: what is gone already needs no removing."""
    if not isinstance(failure[1], FileNotFoundError):
        raise failure[1]
