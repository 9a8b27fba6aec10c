"""The store's trash: marking, taking back, and deleting what was marked, under the lease of the stage it is of.

- Deleting and taking back both hold the lease, so a stage that is used again is either kept whole or gone whole
  before its user looks; what somebody is making now is never touched.
- The manifest goes first: whoever looks finds an artifact whole or none. What a crash leaves behind still has its
  tombstone, and the next deletion takes it away.
- A stone is void once its folder holds attempts or checkpoints that it does not name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from artifacts.address import Address
from artifacts.errors import LeaseLost, StoreError
from artifacts.garbage.census import LEASE, MANIFEST, leftovers, names_of
from artifacts.garbage.tombstone import TRASH, Tombstone, folder_of, tombstone_path
from artifacts.lease import HeldLease, Leases
from artifacts.lease_record import Holder
from artifacts.manifest import Manifest, seal
from artifacts.records import Records
from artifacts.storage import Listed, Storage
from artifacts.transfer import at_once

PURPOSE = "garbage collection"

log = logging.getLogger("miniseries.artifacts")


@dataclass
class Deleted:
    """What came of deleting: folders."""

    gone: list[str] = field(default_factory=list)
    void: list[str] = field(default_factory=list)  # used or worked on since they were marked: kept, unmarked
    busy: list[str] = field(default_factory=list)  # leased: the next collection tries again
    unreadable: list[str] = field(default_factory=list)  # its manifest does not tell what is to be kept: left alone


class Trash:
    """The tombstones of one store, and the objects they are of."""

    def __init__(self, storage: Storage, leases: Leases) -> None:
        self._storage = storage
        self._records = Records(storage)
        self._leases = leases

    def tombstones(self) -> dict[str, Tombstone]:
        """Every tombstone by folder. Raises `StoreError` for one that cannot be read."""
        folders = [folder for entry in self._storage.listing(TRASH) if (folder := folder_of(entry.path)) is not None]
        found = at_once(self._read, folders)
        return {folder: stone for folder, stone in zip(folders, found, strict=True) if stone is not None}

    def mark(self, stones: Iterable[Tombstone]) -> int:
        """Write tombstones; returns how many were not there yet. Nothing else is touched."""

        def create(stone: Tombstone) -> bool:
            content = seal(stone.model_dump(mode="json"))
            return self._storage.create(tombstone_path(stone.folder), content) is not None

        return sum(at_once(create, stones))

    def keep(self, address: Address, ttl: float, wait: Callable[[], None]) -> bool:
        """Take back that the whole artifact goes, before it is used; False if it was not to go.

        While a collection deletes it, `wait` is called again and again; afterwards the artifact is gone.
        """
        while (stone := self._read(address.folder)) is not None and stone.what != "leftovers":
            if self._taken_back(stone, ttl):
                return True
            wait()
        return False

    def take_back(self, folders: Iterable[str], ttl: float) -> list[str]:
        """Remove tombstones; returns those of `folders` that have none any more, the others are in use just now."""
        stones = [(folder, self._read(folder)) for folder in folders]
        return [folder for folder, stone in stones if stone is None or self._taken_back(stone, ttl)]

    def delete(self, stones: Sequence[Tombstone], ttl: float, wait: Callable[[float], object]) -> Deleted:
        """Delete for good what `stones` are of.

        A lease that has expired on another machine counts as held until it was seen unchanged for its ttl: `wait` is
        called once, with `ttl` seconds, if there are such, and they are tried again.
        """
        done = Deleted()
        holders = {stone.folder: self._delete(stone, ttl, done) for stone in stones}
        expired = [stone for stone in stones if self._has_expired(holders[stone.folder])]
        if expired:
            wait(ttl)
        for stone in stones:
            holder = holders[stone.folder]
            if holder is not None and (stone not in expired or self._delete(stone, ttl, done) is not None):
                done.busy.append(stone.folder)
        return done

    def _delete(self, stone: Tombstone, ttl: float, done: Deleted) -> Holder | None:
        """Delete one; returns who has its lease, when that is why it was not."""
        lease = self._leases.acquire(stone.address, PURPOSE, ttl)
        if not isinstance(lease, HeldLease):
            return lease
        try:
            with lease.kept_alive():
                self._sort(stone, lease, done).append(stone.folder)
        except LeaseLost as error:
            log.warning("%s was not deleted: %s", stone.folder, error)
            done.busy.append(stone.folder)
        finally:
            lease.release()
        return None

    def _sort(self, stone: Tombstone, lease: HeldLease, done: Deleted) -> list[str]:
        """Delete what the stone is of if it still may go; returns the list that its folder belongs to."""
        if self._read(stone.folder) != stone:
            return done.void
        try:
            attempt = self._committed_attempt(stone.folder)
        except StoreError as error:
            log.warning("%s is left alone: %s", stone.folder, error)
            return done.unreadable
        objects = self._objects(stone.folder)
        if stone.what == "leftovers":
            objects = leftovers(objects, attempt)
        is_other = stone.what == "unfinished" and attempt is not None
        if is_other or not names_of(objects) <= set(stone.seen):
            self._storage.delete([tombstone_path(stone.folder)])
            return done.void
        lease.confirm()
        self._remove(stone.folder, [found.path for found in objects])
        self._storage.delete([tombstone_path(stone.folder)])
        return done.gone

    def _remove(self, folder: str, paths: Sequence[str]) -> None:
        """The manifest first, then what declares checkpoints, then the bytes: nothing half removed looks whole."""
        declared = [path for path in paths if path.startswith("progress/") and path.endswith("/checkpoint.json")]
        for some in ([path for path in paths if path == MANIFEST], declared, paths):
            self._storage.delete(f"{folder}/{path}" for path in some)

    def _taken_back(self, stone: Tombstone, ttl: float) -> bool:
        lease = self._leases.acquire(stone.address, PURPOSE, ttl)
        if not isinstance(lease, HeldLease):
            return False
        try:
            self._storage.delete([tombstone_path(stone.folder)])
        finally:
            lease.release()
        return True

    def _committed_attempt(self, folder: str) -> str | None:
        found = self._storage.read(f"{folder}/{MANIFEST}")
        return None if found is None else Manifest.decode(found.content, f"{folder}/{MANIFEST}").attempt

    def _objects(self, folder: str) -> list[Listed]:
        """What is in a folder but its lease, by path relative to it."""
        listed = self._storage.listing(folder)
        found = [Listed(entry.path.removeprefix(f"{folder}/"), entry.bytes, entry.stamp) for entry in listed]
        return [entry for entry in found if entry.path != LEASE]

    def _read(self, folder: str) -> Tombstone | None:
        return self._records.read(tombstone_path(folder), Tombstone)

    def _has_expired(self, holder: Holder | None) -> bool:
        return holder is not None and self._leases.has_expired(holder)
