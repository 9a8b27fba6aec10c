"""The store of artifacts: content-keyed, committed once, verified when read. A folder or an S3 bucket, one code path.

    <store>/store.json                                the format of this store
    <store>/<kind>/<name>-<key[:12]>/manifest.json    the commit: written last, by one conditional create
                                     files/<attempt>/ what the manifest lists with size and sha256
                                     extent/...       how many files and bytes it has, as a name: a listing tells
                                     progress/...     checkpoints of an unfinished stage
                                     logs/            what the processes of each attempt wrote, failed ones too
                                     lease.json       who may make it now
                                     damaged.json     a reader found it damaged; it will be made again
    <store>/trash/<kind>/<name>-<key[:12]>.json       to be deleted once its undo window has passed
    <store>/plans/...                                 what runs under way still need
    <store>/calibration/...                           small records beside the artifacts

Every error is a `StoreError` with one line for the user.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from artifacts.address import Address
from artifacts.attempt import Attempt, manifest_path, marker_path
from artifacts.copies import Hold, Room
from artifacts.errors import ArtifactDamaged, ArtifactMissing, Damage, StoreError, StoreUnavailable
from artifacts.files import ArtifactFiles, FilesInPlace, FilesThroughCache, attempt_prefix
from artifacts.folder import FolderStorage
from artifacts.garbage.census import Census, census_of
from artifacts.garbage.running_plans import RunningPlans
from artifacts.garbage.trash import Trash
from artifacts.lease import Clock, HeldLease, Leases
from artifacts.lease_record import Holder
from artifacts.location import Location, cache_folder, cache_limit, store_location
from artifacts.manifest import Manifest
from artifacts.progress import Progress
from artifacts.records import Records
from artifacts.storage import Storage
from artifacts.survey import Contents, Found, contents_of, extent_path
from artifacts.transfer import at_once

__all__ = ["Attempt", "Found", "HeldFiles", "Room", "Store"]

STORE_FORMAT = 1
STORE_MARKER = "store.json"
NO_VERSION = "0" * 32  # no object has it

log = logging.getLogger("miniseries.artifacts")


@dataclass(frozen=True)
class HeldFiles:
    """The verified files of an artifact, on local disk until they are released."""

    folder: Path
    _hold: Hold

    def release(self) -> None:
        """They may be removed to make room; twice is fine."""
        self._hold.release()

    def __enter__(self) -> Path:
        return self.folder

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Store:
    """One store, opened; opening touches neither disk nor network."""

    def __init__(self, location: Location, cache: Path, clock: Clock | None = None) -> None:
        self.url = location.url
        self._cache = cache / location.identifier
        self._storage, self._files = _connect(location, self._cache)
        self.leases = Leases(self._storage, clock)
        self.records = Records(self._storage)
        self.trash = Trash(self._storage, self.leases)
        self.running_plans = RunningPlans(self._storage)

    @classmethod
    def open(cls, url: str | None = None, cache: Path | None = None) -> Store:
        """Open `url` (default: `MINISERIES_STORE`, or the user's data folder), reading through `cache`."""
        return cls(store_location(url), cache_folder(cache))

    def check_writable(self) -> None:
        """Raise `StoreUnavailable` unless the store can be written and refuses a second creation of one object.

        Finds out early what would otherwise cost hours: no connection, wrong bucket or credentials, read-only,
        full, or a server that ignores conditional requests and so would let two runs commit.
        """
        self._storage.create(STORE_MARKER, _store_marker())
        marker = self._storage.read(STORE_MARKER)
        if (
            marker is None
            or self._storage.create(STORE_MARKER, _store_marker()) is not None
            or self._storage.replace(STORE_MARKER, _store_marker(), NO_VERSION) is not None
        ):
            raise StoreUnavailable(
                f"store {self.url} ignores conditional writes (If-None-Match, If-Match), so two runs could "
                "overwrite each other; use a server that supports them"
            )
        self._check_format(marker.content)

    def manifest(self, address: Address) -> Manifest | None:
        """The artifact's manifest, None when it is not committed. Raises `ArtifactDamaged` when it cannot be read."""
        try:
            return self.peek(address)
        except ArtifactDamaged as error:
            raise self._damaged(address, "", list(error.damages)) from error

    def peek(self, address: Address) -> Manifest | None:
        """The same for who only looks: what cannot be read is not marked as damaged."""
        found = self._storage.read(manifest_path(address))
        if found is None:
            return None
        try:
            manifest = Manifest.decode(found.content, "manifest.json")
        except StoreError as error:
            raise ArtifactDamaged.of(address.folder, (Damage(address.folder, "manifest.json", str(error)),)) from error
        if not manifest.key.startswith(address.key):
            wrong = Damage(address.folder, "manifest.json", f"it is of key {manifest.key}, not {address.key}")
            raise ArtifactDamaged.of(address.folder, (wrong,))
        return manifest

    def whole_manifest(self, address: Address) -> Manifest | None:
        """The manifest if the artifact is committed and whole at a glance; None when it must be made (again).

        Raises `ArtifactDamaged` when damage is found for the first time: nobody should pay for making an artifact again
        without having been told. From then on the mark makes it None.
        """
        marker = self._storage.read(marker_path(address))
        try:
            manifest = self.manifest(address)
        except ArtifactDamaged:
            if marker is None:
                raise
            return None
        if manifest is None or (marker is not None and _marks(marker.content, manifest)):
            return None
        damages = self._files.glance(address.folder, manifest)
        if damages:
            raise self._damaged(address, manifest.attempt, damages)
        return manifest

    def is_whole(self, address: Address) -> bool:
        """Whether the artifact can stand for its stage: committed, not marked damaged, files there and unchanged."""
        try:
            return self.whole_manifest(address) is not None
        except ArtifactDamaged:
            return False

    @property
    def is_local(self) -> bool:
        """Whether artifacts are read where they are, without a copy."""
        return self._storage.local("") is not None

    def hold(self, address: Address, room: Room | None = None, *, without: Collection[str] = ()) -> HeldFiles:
        """Bring the artifact's verified files to this machine's disk and keep them there until they are released.

        Of the files in `without` none is brought or verified; they may be in the folder or not. Raises
        `ArtifactMissing`, `ArtifactDamaged`, and `CacheFull` if `room` says that the cache's limit holds.
        """
        manifest = self._existing(address)
        wanted = [file for file in manifest.files if file.path not in without]
        hold = self._files.hold(address.folder, manifest.attempt)
        try:
            damages = self._files.fetch(address.folder, manifest, wanted, room or Room())
            if damages:
                raise self._damaged(address, manifest.attempt, damages)
        except BaseException:
            hold.release()
            raise
        return HeldFiles(self._files.root(address.folder, manifest.attempt), hold)

    def fetch(self, address: Address) -> Path:
        """Return a local folder with the artifact's verified files, to be read at once: it is not held.

        Raises `ArtifactMissing`, `ArtifactDamaged`.
        """
        with self.hold(address) as folder:
            return folder

    def read_file(self, manifest: Manifest, path: str) -> bytes:
        """The verified bytes of one file, without the others. Raises `ArtifactMissing`, `ArtifactDamaged`."""
        address = Address(manifest.kind, manifest.name, manifest.key)
        record = next((file for file in manifest.files if file.path == path), None)
        if record is None:
            raise ArtifactMissing(f"artifact {address} has no file {path}")
        found = self._storage.read(f"{attempt_prefix(address.folder, manifest.attempt)}/{path}")
        content = b"" if found is None else found.content
        if found is None or hashlib.sha256(content).hexdigest() != record.sha256:
            what = "the file is missing" if found is None else "its bytes are not those that were committed"
            raise self._damaged(address, manifest.attempt, [Damage(address.folder, path, what)])
        return content

    def verify(self, address: Address) -> list[Damage]:
        """Hash every byte of the artifact in the store; mark it damaged, or clear the mark, by what is found."""
        try:
            manifest = self._existing(address)
        except ArtifactDamaged as error:
            return list(error.damages)
        damages = self._files.audit(address.folder, manifest)
        if damages:
            self._damaged(address, manifest.attempt, damages)
        else:
            self._storage.delete([marker_path(address)])
        return damages

    def discard(self, address: Address, lease: HeldLease) -> None:
        """Remove a damaged artifact, manifest first, so that it can be made again. Leaves a whole one alone.

        Where there is no manifest nothing is deleted: one that appears meanwhile is a successor's.
        """
        lease.confirm()
        if self._storage.read(manifest_path(address)) is None or self.is_whole(address):
            return
        try:
            manifest = self.manifest(address)
        except ArtifactDamaged:
            manifest = None
        lease.confirm()
        self._storage.delete([manifest_path(address)])
        self._storage.delete([marker_path(address)])
        if manifest is not None:
            self._storage.delete([extent_path(address.folder, manifest)])
            self._files.withdraw(address.folder, manifest.attempt)

    @contextmanager
    def attempt(self, address: Address, lease: HeldLease) -> Iterator[Attempt]:
        """A place to make the artifact in; what is not committed at the end is removed."""
        work = self._cache / "work" / address.folder / lease.attempt
        attempt = Attempt(self._storage, self._files, address, lease, work)
        attempt.begin()
        try:
            yield attempt
        finally:
            attempt.end()

    def progress(self, address: Address, token: int) -> Progress:
        """The checkpoints of an unfinished stage, for the holder of `token`."""
        return Progress(self._storage, address, token, self._cache / "progress" / address.folder)

    def contents(self) -> Contents:
        """What is there, from one listing."""
        return contents_of(self._storage.listing(""))

    def census(self) -> Census:
        """Every object of the store by artifact, from one listing."""
        return census_of(self._storage.listing(""))

    def survey(self) -> Mapping[str, Found]:
        """The artifacts that are there, by folder, from one listing."""
        return self.contents().artifacts

    def addresses(self) -> list[Address]:
        """Every committed artifact, by folder. The key is cut to 12 characters where the manifest is unreadable."""
        folders = [folder for folder, found in self.survey().items() if found.committed]
        found = at_once(self._full_address, [address for folder in folders if (address := Address.parse(folder))])
        return [address for address in found if address is not None]

    def holder_of(self, address: Address) -> Holder | None:
        """Who is making the artifact now, and since when; None when nobody is."""
        return self.leases.holder(address)

    def path_of(self, address: Address) -> str:
        """Where the artifact's files are, as a path or URL; its folder while it is not committed."""
        manifest = self.manifest(address)
        if manifest is not None:
            return self._files.location(address.folder, manifest.attempt)
        local = self._storage.local(address.folder)
        return f"{self.url}/{address.folder}" if local is None else str(local)

    def _existing(self, address: Address) -> Manifest:
        manifest = self.manifest(address)
        if manifest is None:
            raise ArtifactMissing(f"artifact {address} is not in store {self.url}; `miniseries run` makes it")
        return manifest

    def _full_address(self, address: Address) -> Address | None:
        try:
            manifest = self.manifest(address)
        except ArtifactDamaged:
            return address
        return None if manifest is None else Address(address.kind, address.name, manifest.key)

    def _damaged(self, address: Address, attempt: str, damages: list[Damage]) -> ArtifactDamaged:
        """Mark the artifact as damaged, as far as the store lets us, and return the error that says so."""
        values = {"attempt": attempt, "damages": [str(damage) for damage in damages], "nonce": uuid.uuid4().hex}
        content = json.dumps(values, indent=1).encode()
        try:
            if self._storage.create(marker_path(address), content) is None:
                previous = self._storage.read(marker_path(address))
                if previous is not None:
                    self._storage.replace(marker_path(address), content, previous.version)
        except StoreUnavailable as error:
            log.warning("%s is damaged and could not be marked so: %s", address, error)
        return ArtifactDamaged.of(address.folder, tuple(damages))

    def _check_format(self, content: bytes) -> None:
        try:
            found = json.loads(content)["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self.url}/{STORE_MARKER} is not a store's marker; is this the right place?") from error
        if found != STORE_FORMAT:
            raise StoreError(
                f"store {self.url} has format {found}, this version reads {STORE_FORMAT}; update miniseries"
            )


def _connect(location: Location, cache: Path) -> tuple[Storage, ArtifactFiles]:
    if location.folder is not None:
        folder = FolderStorage(location.folder, location.url)
        return folder, FilesInPlace(folder, cache)
    from artifacts.bucket import BucketStorage  # here, because importing s3fs takes a second that folders need not pay

    bucket = BucketStorage(location.bucket, location.prefix, location.url)
    return bucket, FilesThroughCache(bucket, cache, cache_limit())


def _marks(marker: bytes, manifest: Manifest) -> bool:
    """Whether this very attempt was found damaged; a mark that outlived another attempt does not count."""
    try:
        return bool(json.loads(marker)["attempt"] == manifest.attempt)
    except (ValueError, KeyError, TypeError):
        return True


def _store_marker() -> bytes:
    return json.dumps({"format": STORE_FORMAT, "nonce": uuid.uuid4().hex}).encode()
