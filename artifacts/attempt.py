"""One attempt at an artifact: a place to write, and a commit that happens once or not at all.

What leaves without a commit is removed. If the answer to the commit itself was lost, nobody knows whether it
counts, and then nothing is removed unless somebody else's manifest is there.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from artifacts.address import Address
from artifacts.encoding import canonical
from artifacts.errors import AlreadyCommitted, StoreError
from artifacts.files import ArtifactFiles, attempt_prefix
from artifacts.folder import one_line_errors
from artifacts.lease import HeldLease
from artifacts.manifest import Manifest
from artifacts.progress import progress_prefix
from artifacts.redaction import redact, redacted
from artifacts.storage import Storage
from artifacts.survey import extent_path
from artifacts.transfer import record_files

log = logging.getLogger("miniseries.artifacts")


def manifest_path(address: Address) -> str:
    """Where an artifact's manifest is, relative to the store."""
    return f"{address.folder}/manifest.json"


def marker_path(address: Address) -> str:
    """Where an artifact is marked as damaged, relative to the store."""
    return f"{address.folder}/damaged.json"


def log_path(address: Address, attempt: str) -> str:
    """Where the output of an attempt's processes is kept, relative to the store."""
    return f"{address.folder}/logs/{attempt}.log"


class Attempt:
    """Write into `output`, use `scratch` freely, then `commit`. Made by `Store.attempt`."""

    def __init__(self, storage: Storage, files: ArtifactFiles, address: Address, lease: HeldLease, work: Path) -> None:
        self.address = address
        self.store_url = storage.url
        self.scratch = work / "scratch"
        self.output = files.staging(address.folder, lease.attempt, work)
        self._storage = storage
        self._files = files
        self._lease = lease
        self._work = work
        self._extent: str | None = None  # written, and not to stay unless we commit
        self._state: Literal["open", "declaring", "refused", "committed"] = "open"

    def begin(self) -> None:
        """Make the folders, and clear local ones that earlier attempts at this artifact left behind.

        Not those of later attempts: we may have been replaced just now.
        """
        with one_line_errors(self._work):
            if self._work.parent.is_dir():
                for other in self._work.parent.iterdir():
                    if int(other.name.partition("-")[0]) < self._lease.token:
                        shutil.rmtree(other)
            self.scratch.mkdir(parents=True)
        with one_line_errors(self.output):
            self.output.mkdir(parents=True)

    def commit(
        self,
        *,
        stage_version: int,
        identity: object,
        inputs: Mapping[str, str],
        metrics: Mapping[str, object],
        provenance: Mapping[str, object],
    ) -> Manifest:
        """Hash and store all of `output`, confirm the lease, then create the manifest: the artifact exists.

        Raises `AlreadyCommitted`, `LeaseLost`, or `StoreUnavailable`; `artifacts.encoding.NotCanonicalError` when
        a value is not JSON. Then nothing of this attempt counts.
        """
        manifest = Manifest(
            kind=self.address.kind,
            name=self.address.name,
            key=self.address.key,
            stage_version=stage_version,
            identity=canonical(identity),
            inputs=dict(inputs),
            attempt=self._lease.attempt,
            token=self._lease.token,
            files=record_files(self.output),
            metrics=_json(metrics, "metrics"),
            provenance=_json(provenance, "provenance"),
        )
        self._files.publish(self.address.folder, manifest.attempt, self.output, manifest.files)
        self._extent = extent_path(self.address.folder, manifest)
        self._storage.create(self._extent, manifest.attempt.encode())
        self._lease.confirm()
        self._storage.delete([marker_path(self.address)])
        self._state = "declaring"
        if self._storage.create(manifest_path(self.address), manifest.encode()) is None:
            self._state = "refused"
            raise AlreadyCommitted(f"{self.address} was committed by another run meanwhile; theirs is used")
        self._state = "committed"
        self._files.keep(self.address.folder, manifest.attempt, self.output)
        self._sweep(manifest)
        return manifest

    def keep_log(self, log_file: Path) -> None:
        """Store the output of the attempt's processes beside the artifact, without secrets, however the attempt ended.

        It is no file of the artifact: it tells the time, and two attempts at one artifact must leave the same files.
        Failing to store it is worth a warning and no more.
        """
        shown, path = self.scratch / "log", log_path(self.address, self._lease.attempt)
        try:
            with one_line_errors(log_file):
                shown.write_text(redact(log_file.read_text(encoding="utf-8", errors="replace")), encoding="utf-8")
            self._storage.upload(shown, path)
        except StoreError as error:
            log.warning("%s: the log of attempt %s was not stored: %s", self.address, self._lease.attempt, error)

    def end(self) -> None:
        """Remove what is not needed any more; failing to is worth a warning and no more."""
        try:
            if self._state == "declaring" and not self._somebody_else_committed():
                log.warning(
                    "%s: the store did not say whether the commit of %s counts", self.address, self._lease.attempt
                )
            elif self._state != "committed":
                self._files.withdraw(self.address.folder, self._lease.attempt)
                self._storage.delete([self._extent] if self._extent else [])
            with one_line_errors(self._work):
                shutil.rmtree(self._work)
        except StoreError as error:
            log.warning("%s: not everything of attempt %s was removed: %s", self.address, self._lease.attempt, error)

    def _somebody_else_committed(self) -> bool:
        found = self._storage.read(manifest_path(self.address))
        return found is not None and Manifest.decode(found.content, "manifest.json").attempt != self._lease.attempt

    def _sweep(self, manifest: Manifest) -> None:
        """Remove checkpoints and what other attempts left. Only now: no other attempt can commit any more."""
        folder = self.address.folder
        ours = (attempt_prefix(folder, manifest.attempt) + "/", extent_path(folder, manifest))
        leftovers = (f"{folder}/files/", f"{folder}/extent/", progress_prefix(self.address) + "/")
        try:
            listed = [entry.path for entry in self._storage.listing(self.address.folder)]
            self._storage.delete(path for path in listed if path.startswith(leftovers) and not path.startswith(ours))
        except StoreError as error:
            log.warning("%s is committed, but leftovers were not removed: %s", self.address, error)


def _json(values: Mapping[str, object], where: str) -> dict[str, Any]:
    """A mapping as plain JSON values without secrets."""
    plain = redacted(canonical(values, where))
    assert isinstance(plain, dict)
    return plain
