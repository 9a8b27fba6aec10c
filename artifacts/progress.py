"""Checkpoints of an unfinished stage: uploaded first, declared last, so one either exists whole or does not.

    <artifact>/progress/<step, 8 digits>-<token>/files/...         the state before that step
                                                 checkpoint.json   names, sizes, sha256: written last

A writer whose lease has been taken over is refused. The last two are kept, or all where each adds to those before it;
one that is torn or damaged is skipped with a warning and the one before it serves.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from artifacts.address import Address
from artifacts.errors import Damage, LeaseLost, StoreError
from artifacts.lease_record import read_record
from artifacts.manifest import FORMAT, STRICT, FileRecord, read_sealed, seal
from artifacts.storage import Listed, Storage
from artifacts.transfer import at_once, difference, download_files, record_files, upload_files

KEPT = 2
DECLARATION = "checkpoint.json"
NAME = re.compile(r"(?P<step>\d{8,})-(?P<token>\d+)")

log = logging.getLogger("miniseries.artifacts")


@dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint of an unfinished stage, verified and on local disk."""

    step: int
    path: Path


class CheckpointRecord(BaseModel):
    """The contents of `checkpoint.json`."""

    model_config = STRICT

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)] = FORMAT
    step: int
    token: int
    files: tuple[FileRecord, ...]
    nonce: str


@dataclass(frozen=True, order=True)
class _Place:
    """A checkpoint's folder; later steps and later holders sort last."""

    step: int
    token: int

    @property
    def name(self) -> str:
        return f"{self.step:08d}-{self.token}"


def progress_prefix(address: Address) -> str:
    """Where an artifact's checkpoints are, relative to the store."""
    return f"{address.folder}/progress"


class Progress:
    """The checkpoints of one stage, as seen by the holder of `token`; `cache` is a local folder for downloads."""

    def __init__(self, storage: Storage, address: Address, token: int, cache: Path) -> None:
        self._storage = storage
        self._address = address
        self._token = token
        self._cache = cache

    def save(self, step: int, directory: Path) -> None:
        """Upload every file of `directory` as the state before `step`, then declare it.

        Raises `LeaseLost` when another holder has the stage, `StoreUnavailable` when the store fails.
        """
        self._prune(self._declare(step, directory))

    def add(self, step: int, directory: Path) -> None:
        """Like `save`, but what was saved stays: for a state that only grows, of which `directory` is what is new."""
        self._declare(step, directory)

    def newest(self) -> SavedCheckpoint | None:
        """Return the newest checkpoint that verifies, on local disk; None when there is none."""
        return next(self._usable(), None)

    def every(self) -> list[SavedCheckpoint]:
        """Return all checkpoints that verify, on local disk, the oldest first."""
        return list(self._usable())[::-1]

    def _declare(self, step: int, directory: Path) -> _Place:
        self._require_current()
        files = record_files(directory)
        place = _Place(step, self._token)
        self._remove([entry for entry in self._list() if _place_of(entry, self._prefix) == place])
        upload_files(self._storage, directory, files, f"{self._prefix}/{place.name}/files")
        self._require_current()
        record = CheckpointRecord(step=step, token=self._token, files=files, nonce=uuid.uuid4().hex)
        declaration = f"{self._prefix}/{place.name}/{DECLARATION}"
        if self._storage.create(declaration, seal(record.model_dump(mode="json"))) is None:
            raise StoreError(f"{self._storage.url}/{declaration} exists: two processes save under token {self._token}")
        return place

    def _usable(self) -> Iterator[SavedCheckpoint]:
        """The newest first."""
        entries = self._list()
        declared = _declared(entries, self._prefix)
        for place in sorted({place for entry in entries if (place := _place_of(entry, self._prefix))}, reverse=True):
            if place not in declared:
                self._warn(place, "it was never completed")
                continue
            root = self._load(place)
            if root is not None:
                yield SavedCheckpoint(place.step, root)

    @property
    def _prefix(self) -> str:
        return progress_prefix(self._address)

    def _load(self, place: _Place) -> Path | None:
        """The checkpoint's local folder; None, with a warning, if it cannot be used."""
        path = f"{self._prefix}/{place.name}"
        found = self._storage.read(f"{path}/{DECLARATION}")
        if found is None:
            self._warn(place, "it was removed meanwhile")
            return None
        try:
            record = read_sealed(CheckpointRecord, found.content, DECLARATION)
        except StoreError as error:
            self._warn(place, str(error))
            return None
        local = self._storage.local(f"{path}/files")
        root = local or self._cache / place.name
        problems = at_once(lambda file: difference(file, root / file.path), record.files)
        wanted = [file for file, problem in zip(record.files, problems, strict=True) if problem]
        if not wanted:
            return root
        if local is not None:
            first = Damage(path, wanted[0].path, next(filter(None, problems)))
            self._warn(place, str(first))
            return None
        damages = download_files(self._storage, f"{path}/files", wanted, root, self._cache / "partial", path)
        for damage in damages[:1]:
            self._warn(place, str(damage))
        return None if damages else root

    def _warn(self, place: _Place, why: str) -> None:
        log.warning("checkpoint %s of %s is skipped: %s", place.name, self._address, why)

    def _require_current(self) -> None:
        found = read_record(self._storage, self._address)
        if found is None or found[0].token != self._token:
            now = "no lease" if found is None else f"token {found[0].token}"
            raise LeaseLost(
                f"{self._address}: the stage belongs to {now}, not to {self._token}; no checkpoint is written"
            )

    def _list(self) -> list[Listed]:
        return self._storage.listing(self._prefix)

    def _remove(self, entries: list[Listed]) -> None:
        """Declarations first: a checkpoint half removed must not look whole."""
        paths = [entry.path for entry in entries]
        self._storage.delete(path for path in paths if path.endswith(f"/{DECLARATION}"))
        self._storage.delete(path for path in paths if not path.endswith(f"/{DECLARATION}"))

    def _prune(self, newest: _Place) -> None:
        """Keep `newest` and the declared ones before it, `KEPT` in all; what claims to be later was not usable.

        What a successor wrote, should we have been replaced since the declaration, is its own.
        """
        entries = [entry for entry in self._list() if self._is_ours_or_older(entry)]
        earlier = sorted(place for place in _declared(entries, self._prefix) if place < newest)
        kept = {newest, *earlier[len(earlier) - (KEPT - 1) :]}
        self._remove([entry for entry in entries if _place_of(entry, self._prefix) not in kept])

    def _is_ours_or_older(self, entry: Listed) -> bool:
        place = _place_of(entry, self._prefix)
        return place is not None and place.token <= self._token


def newest_declared_step(paths: list[str]) -> int | None:
    """The newest step among paths relative to `progress/`, by name alone."""
    steps = [
        int(found["step"])
        for path in paths
        if path.endswith(f"/{DECLARATION}") and path.count("/") == 1 and (found := NAME.match(path))
    ]
    return max(steps, default=None)


def _declared(entries: list[Listed], prefix: str) -> set[_Place]:
    found = [(_place_of(entry, prefix), entry.path) for entry in entries]
    return {place for place, path in found if place and path == f"{prefix}/{place.name}/{DECLARATION}"}


def _place_of(entry: Listed, prefix: str) -> _Place | None:
    found = NAME.fullmatch(entry.path.removeprefix(f"{prefix}/").split("/")[0])
    return _Place(int(found["step"]), int(found["token"])) if found else None
