"""What runs under way still need: each run keeps a small record of the artifacts of its plan, and renews it.

    plans/<random>.json

A recipe that only the run knows (a series file on its machine) is thereby known to whoever collects garbage. A run
that ends removes its record; one that was killed leaves it, and it counts for a day after it was last renewed.
"""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated

from pydantic import BaseModel, Field

from artifacts.errors import StoreError, StoreUnavailable
from artifacts.manifest import FORMAT, STRICT
from artifacts.records import Records
from artifacts.storage import Storage
from artifacts.transfer import at_once

PLANS = "plans"
PATH = re.compile(rf"{PLANS}/[0-9a-f]{{32}}\.json")
RENEWAL_SECONDS = 3600.0
EXPIRY_SECONDS = 24 * 3600.0  # far beyond any difference between two machines' clocks

log = logging.getLogger("miniseries.artifacts")


class PlanRecord(BaseModel):
    """The contents of a record."""

    model_config = STRICT

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)] = FORMAT
    purpose: str
    host: str
    folders: tuple[str, ...]  # of the artifacts in the plan
    renewed: float  # seconds since the epoch
    nonce: str = Field(default_factory=lambda: uuid.uuid4().hex)


class RunningPlans:
    """The records of one store."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._records = Records(storage)

    @contextmanager
    def running(self, folders: Iterable[str], purpose: str, renewal_seconds: float = RENEWAL_SECONDS) -> Iterator[None]:
        """Keep `folders` from being collected while the block runs. Raises `StoreError` if that cannot be recorded."""
        path, wanted, done = f"{PLANS}/{uuid.uuid4().hex}.json", tuple(folders), threading.Event()

        def renew() -> None:
            record = PlanRecord(purpose=purpose, host=socket.gethostname(), folders=wanted, renewed=time.time())
            self._records.write(path, record)

        def renew_until_done() -> None:
            while not done.wait(renewal_seconds):
                try:
                    renew()
                except StoreError as error:
                    log.warning("the record of a running plan was not renewed, trying again: %s", error)

        renew()
        thread = threading.Thread(target=renew_until_done, name="miniseries-plan", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self._end(path)

    def folders(self, now: float) -> dict[str, str]:
        """Folders that a run needs -> which one. Raises `StoreError` for a record that cannot be read."""
        found: dict[str, str] = {}
        for record in self._all().values():
            if now - record.renewed < EXPIRY_SECONDS:
                found |= dict.fromkeys(record.folders, f"a run on {record.host} ({record.purpose})")
        return found

    def forget(self, now: float) -> int:
        """Remove the records of runs that were killed long ago; returns how many."""
        old = [path for path, record in self._all().items() if now - record.renewed >= EXPIRY_SECONDS]
        self._storage.delete(old)
        return len(old)

    def _all(self) -> dict[str, PlanRecord]:
        paths = [entry.path for entry in self._storage.listing(PLANS) if PATH.fullmatch(entry.path)]
        found = at_once(lambda path: self._records.read(path, PlanRecord), paths)
        return {path: record for path, record in zip(paths, found, strict=True) if record is not None}

    def _end(self, path: str) -> None:
        try:
            self._storage.delete([path])
        except StoreUnavailable as error:
            log.warning("the record of this run's plan was not removed and counts for another day: %s", error)
