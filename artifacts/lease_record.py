"""What `lease.json` says: who may make an artifact now, with which fencing token, until when.

The object is never deleted and its token only grows, so a writer that was replaced can be told from its
successor for ever. Releasing it writes `released`.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from artifacts.address import Address
from artifacts.errors import StoreError
from artifacts.manifest import FORMAT, STRICT, read_sealed, seal
from artifacts.process import Machine, Process, provably_dead
from artifacts.storage import Storage


class ProcessRecord(BaseModel):
    """A process as `lease.json` writes it."""

    model_config = STRICT

    pid: int
    started: int | None

    @property
    def process(self) -> Process:
        """The process."""
        return Process(self.pid, self.started)


class LeaseRecord(BaseModel):
    """The contents of `lease.json`. Times are seconds since the epoch by the holder's clock."""

    model_config = STRICT

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)] = FORMAT
    token: Annotated[int, Field(ge=1)]
    attempt: str
    purpose: str
    host: str
    boot: str
    holder: ProcessRecord
    processes: tuple[ProcessRecord, ...] = ()  # workers, which may outlive the holder for a last checkpoint
    since: float
    expires_at: float
    ttl: float  # seconds
    released: bool = False
    nonce: str = Field(default_factory=lambda: uuid.uuid4().hex)  # makes every write's bytes unique

    def encode(self) -> bytes:
        """The bytes of `lease.json`."""
        return seal(self.model_dump(mode="json"))

    @property
    def machine(self) -> Machine:
        """Where its process ids mean something."""
        return Machine(self.host, self.boot)

    @property
    def is_abandoned(self) -> bool:
        """Whether the holder and every worker it recorded are provably dead. Only meaningful on their machine."""
        return all(provably_dead(record.process) for record in (self.holder, *self.processes))


@dataclass(frozen=True)
class Holder:
    """Who holds a lease."""

    host: str
    pid: int
    purpose: str
    since: float  # seconds since the epoch, by the holder's clock
    until: float
    token: int

    @classmethod
    def of(cls, record: LeaseRecord) -> Holder:
        """The holder that a record names."""
        return cls(record.host, record.holder.pid, record.purpose, record.since, record.expires_at, record.token)

    @property
    def description(self) -> str:
        """One phrase for people; it stays the same while the lease is renewed."""
        since = datetime.fromtimestamp(self.since).isoformat(sep=" ", timespec="seconds")
        return f"process {self.pid} on {self.host}, since {since}"


def lease_path(address: Address) -> str:
    """Where an artifact's lease is."""
    return f"{address.folder}/lease.json"


def read_record(storage: Storage, address: Address) -> tuple[LeaseRecord, str] | None:
    """Return an artifact's lease and its version, None when there never was one."""
    found = storage.read(lease_path(address))
    if found is None:
        return None
    where = f"{storage.url}/{lease_path(address)}"
    try:
        return read_sealed(LeaseRecord, found.content, where), found.version
    except StoreError as error:
        raise StoreError(f"{error}; if nothing is making this artifact, delete that file") from error
