"""The right to make an artifact: one holder at a time, renewed by heartbeat, fenced by a token that only grows.

When a lease may be taken from a holder that has not released it:

- on the holder's own machine: at once when the holder and all workers it recorded are provably dead (a worker
  that still lives is saving its checkpoint), otherwise when it has expired;
- on another machine, whose clock may be wrong: when it has expired and this process has seen it unchanged for
  a whole ttl of its own monotonic clock; or, should our wall clock lag, unchanged for two.

A holder renews every quarter of the ttl and counts its own deadline from before each request was sent, so by
the time anyone else may take over, it has set `lost`. Should it be stopped between its last confirmation and
its commit, the commit is still a single conditional create: exactly one manifest wins.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from artifacts.address import Address
from artifacts.errors import LeaseLost, StoreUnavailable
from artifacts.lease_record import Holder, LeaseRecord, ProcessRecord, lease_path, read_record
from artifacts.process import Machine, identify, this_machine
from artifacts.storage import Storage

BEATS_PER_TTL = 4

log = logging.getLogger("miniseries.artifacts")


class Clock(Protocol):
    """Time as a lease needs it."""

    def wall(self) -> float:
        """Seconds since the epoch; may be wrong and may jump."""

    def monotonic(self) -> float:
        """Seconds since some moment; never jumps."""


class SystemClock:
    """This machine's clocks."""

    def wall(self) -> float:
        """`time.time()`."""
        return time.time()

    def monotonic(self) -> float:
        """`time.monotonic()`."""
        return time.monotonic()


class Leases:
    """Acquires leases in one store. Keep the object while waiting: it remembers how long it saw a lease unchanged."""

    def __init__(self, storage: Storage, clock: Clock | None = None, machine: Machine | None = None) -> None:
        self._storage = storage
        self._clock = clock or SystemClock()
        self._machine = machine or this_machine()
        self._unchanged_since: dict[str, tuple[str, float]] = {}  # folder -> version, when first seen

    def acquire(self, address: Address, purpose: str, ttl: float) -> HeldLease | Holder:
        """Take the lease for `ttl` seconds if it is free; otherwise say who has it. Never waits."""
        found = read_record(self._storage, address)
        claim = self._claim(1 if found is None else found[0].token + 1, purpose, ttl)
        began = self._clock.monotonic()
        if found is None:
            version = self._storage.create(lease_path(address), claim.encode())
        elif self._is_free(address, *found):
            version = self._storage.replace(lease_path(address), claim.encode(), found[1])
        else:
            return Holder.of(found[0])
        if version is not None:
            return HeldLease(self._storage, self._clock, address, claim, version, began)
        winner = read_record(self._storage, address)
        if winner is None:
            raise StoreUnavailable(f"{self._storage.url}/{lease_path(address)} disappeared; run again")
        return Holder.of(winner[0])

    def holder(self, address: Address) -> Holder | None:
        """Who holds the lease now, by what it says: None when it is released, expired, or its holders are dead."""
        found = read_record(self._storage, address)
        if found is None or found[0].released or self._clock.wall() >= found[0].expires_at:
            return None
        if found[0].machine.same_as(self._machine) and found[0].is_abandoned:
            return None
        return Holder.of(found[0])

    def last_held(self, address: Address) -> float | None:
        """When the lease was last renewed or released, by its holder's clock; None when there never was one."""
        found = read_record(self._storage, address)
        if found is None:
            return None
        return found[0].expires_at - (0.0 if found[0].released else found[0].ttl)

    def has_expired(self, holder: Holder) -> bool:
        """Whether a lease says so itself, by our clock: on another machine it must then be watched for its ttl."""
        return self._clock.wall() >= holder.until

    def _is_free(self, address: Address, record: LeaseRecord, version: str) -> bool:
        if record.released:
            return True
        expired = self._clock.wall() >= record.expires_at
        if record.machine.same_as(self._machine):
            return expired or record.is_abandoned
        unchanged = self._seen_unchanged(address, version)
        return unchanged >= record.ttl and (expired or unchanged >= 2 * record.ttl)

    def _seen_unchanged(self, address: Address, version: str) -> float:
        """Seconds for which this object has seen `version`."""
        now = self._clock.monotonic()
        seen, since = self._unchanged_since.get(address.folder, ("", now))
        if seen != version:
            since = now
        self._unchanged_since[address.folder] = (version, since)
        return now - since

    def _claim(self, token: int, purpose: str, ttl: float) -> LeaseRecord:
        me, now = identify(os.getpid()), self._clock.wall()
        return LeaseRecord(
            token=token,
            attempt=f"{token:04d}-{uuid.uuid4().hex[:8]}",
            purpose=purpose,
            host=self._machine.host,
            boot=self._machine.boot,
            holder=ProcessRecord(pid=me.pid, started=me.started),
            since=now,
            expires_at=now + ttl,
            ttl=float(ttl),
        )


class HeldLease:
    """A lease that is ours until released or `lost`. Safe to use from several threads."""

    def __init__(
        self, storage: Storage, clock: Clock, address: Address, record: LeaseRecord, version: str, began: float
    ) -> None:
        self.address = address
        self.lost = threading.Event()
        self._storage = storage
        self._clock = clock
        self._record = record
        self._version = version
        self._deadline = began + record.ttl  # by the monotonic clock
        self._lock = threading.Lock()

    @property
    def token(self) -> int:
        """The fencing token."""
        return self._record.token

    @property
    def attempt(self) -> str:
        """A name that no other attempt at this artifact has: the token and 8 random hex digits."""
        return self._record.attempt

    def renew(self) -> None:
        """Extend the lease by its ttl. Raises `LeaseLost` when somebody else has it."""
        with self._lock:
            if not self._record.released:
                self._write()

    def confirm(self) -> None:
        """Renew, right before a commit. Raises `LeaseLost` also when the lease was lost before."""
        if self.lost.is_set():
            raise LeaseLost(f"{self.address}: the lease was lost before the commit; nothing was committed")
        self.renew()

    def record_processes(self, pids: Sequence[int]) -> None:
        """Name the worker processes: after our death nobody takes over on this machine while one of them lives."""
        workers = tuple(ProcessRecord(pid=pid, started=identify(pid).started) for pid in pids)
        with self._lock:
            if workers != self._record.processes and not self._record.released:
                self._write(processes=workers)

    def release(self) -> None:
        """Let others have it at once. Does nothing when it is theirs already; it expires when the store is away."""
        with self._lock:
            if self._record.released:
                return
            try:
                self._write(released=True, processes=())
            except LeaseLost:
                log.info("lease on %s was not released: another holder has it", self.address)
            except StoreUnavailable as error:
                log.warning("lease on %s was not released and will expire: %s", self.address, error)

    @contextmanager
    def kept_alive(self) -> Iterator[None]:
        """Renew in the background; set `lost` when another holder appears or the deadline passes unrenewed.

        Renewing and watching the deadline are two threads, because a renewal may hang as long as the store does.
        """
        done = threading.Event()
        threads = [
            threading.Thread(target=work, args=(done,), name=f"miniseries-lease-{name}", daemon=True)
            for name, work in (("renew", self._renew_until), ("watch", self._watch_until))
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()

    def check_deadline(self) -> None:
        """Set `lost` if the lease was not renewed in time."""
        if self._clock.monotonic() >= self._deadline and not self.lost.is_set():
            log.error("lease on %s could not be renewed within %g s and is given up", self.address, self._record.ttl)
            self.lost.set()

    def _renew_until(self, done: threading.Event) -> None:
        while not self.lost.is_set() and not done.wait(self._record.ttl / BEATS_PER_TTL):
            try:
                self.renew()
            except LeaseLost as error:
                log.error("%s", error)
            except StoreUnavailable as error:
                log.warning("lease on %s not renewed, trying again: %s", self.address, error)

    def _watch_until(self, done: threading.Event) -> None:
        while not self.lost.is_set() and not done.wait(self._record.ttl / BEATS_PER_TTL / 2):
            self.check_deadline()

    def _write(self, **changes: object) -> None:
        """Replace the lease, which must still be the version we wrote last."""
        began, now = self._clock.monotonic(), self._clock.wall()
        released = bool(changes.get("released"))
        record = self._record.model_copy(
            update={"expires_at": now if released else now + self._record.ttl, "nonce": uuid.uuid4().hex, **changes}
        )
        version = self._storage.replace(lease_path(self.address), record.encode(), self._version)
        if version is None:
            self.lost.set()
            raise LeaseLost(self._loss())
        self._record, self._version, self._deadline = record, version, began + record.ttl

    def _loss(self) -> str:
        found = read_record(self._storage, self.address)
        by = f"taken over by {Holder.of(found[0]).description}" if found else "deleted"
        return f"{self.address}: the lease (token {self.token}) was {by}; stop, nothing is committed"
