"""Who may make an artifact: one at a time, the next one when the first is gone for certain."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from artifacts.address import Address
from artifacts.errors import LeaseLost, StoreError
from artifacts.lease import HeldLease, Leases
from artifacts.lease_record import Holder
from artifacts.process import Machine
from artifacts.storage import Storage
from artifacts.store import Store

TTL = 100.0
HERE, THERE = Machine("here", "boot-1"), Machine("there", "boot-2")


class HandClock:
    """A clock that is moved by hand; `skew` is how wrong its wall clock is."""

    def __init__(self, skew: float = 0.0) -> None:
        self.now = 1000.0
        self.skew = skew

    def wall(self) -> float:
        return 1_700_000_000.0 + self.now + self.skew

    def monotonic(self) -> float:
        return self.now


def taken(outcome: HeldLease | Holder) -> HeldLease:
    assert isinstance(outcome, HeldLease), outcome
    return outcome


def test_a_lease_is_held_by_one_until_released_and_its_token_grows(storage: Storage, address: Address) -> None:
    leases = Leases(storage)
    first = taken(leases.acquire(address, "first", TTL))
    refused = leases.acquire(address, "second", TTL)
    assert isinstance(refused, Holder)
    assert (refused.pid, refused.purpose, refused.token) == (os.getpid(), "first", 1)
    assert leases.holder(address) == refused
    first.release()
    assert leases.holder(address) is None
    second = taken(leases.acquire(address, "second", TTL))
    assert (first.token, second.token) == (1, 2)
    assert first.attempt.startswith("0001-")
    assert second.attempt.startswith("0002-")


def test_on_one_machine_an_expired_lease_is_taken_at_once(storage: Storage, address: Address) -> None:
    clock = HandClock()
    stale = taken(Leases(storage, clock).acquire(address, "stale", TTL))
    clock.now += TTL - 1
    assert isinstance(Leases(storage, clock).acquire(address, "next", TTL), Holder)
    stale.renew()
    clock.now += TTL - 1
    assert isinstance(Leases(storage, clock).acquire(address, "next", TTL), Holder)
    clock.now += 1
    assert taken(Leases(storage, clock).acquire(address, "next", TTL)).token == 2
    with pytest.raises(LeaseLost, match="taken over"):
        stale.renew()
    assert stale.lost.is_set()
    with pytest.raises(LeaseLost):
        stale.confirm()


def test_from_another_machine_an_expired_lease_is_taken_only_after_it_was_seen_idle_for_its_ttl(
    storage: Storage, address: Address
) -> None:
    clock = HandClock()
    taken(Leases(storage, clock, THERE).acquire(address, "stale", TTL))
    clock.now += 10 * TTL
    waiter = Leases(storage, clock, HERE)
    assert isinstance(waiter.acquire(address, "next", TTL), Holder)
    clock.now += TTL - 1
    assert isinstance(waiter.acquire(address, "next", TTL), Holder)
    clock.now += 1
    assert taken(waiter.acquire(address, "next", TTL)).token == 2


@pytest.mark.parametrize("skew", [-5000.0, 5000.0])
def test_a_wrong_clock_takes_nothing_from_a_holder_that_renews_and_gets_it_in_the_end(
    storage: Storage, address: Address, skew: float
) -> None:
    clock, wrong = HandClock(), HandClock(skew)
    holder = taken(Leases(storage, clock, THERE).acquire(address, "alive", TTL))
    waiter = Leases(storage, wrong, HERE)
    for _ in range(12):
        assert isinstance(waiter.acquire(address, "next", TTL), Holder)
        clock.now += TTL / 4
        wrong.now += TTL / 4
        holder.renew()
    assert isinstance(waiter.acquire(address, "next", TTL), Holder)
    wrong.now += 2 * TTL
    assert taken(waiter.acquire(address, "next", TTL)).token == 2


def test_a_holder_that_cannot_renew_in_time_gives_up_before_anyone_may_take_over(
    storage: Storage, address: Address
) -> None:
    clock = HandClock()
    lease = taken(Leases(storage, clock).acquire(address, "cut off", TTL))
    clock.now += TTL - 1
    lease.check_deadline()
    assert not lease.lost.is_set()
    clock.now += 1
    lease.check_deadline()
    assert lease.lost.is_set()


def test_the_heartbeat_notices_another_holder(storage: Storage, address: Address) -> None:
    lease = taken(Leases(storage).acquire(address, "slow", 0.0))
    taken(Leases(storage).acquire(address, "next", TTL))
    with lease.kept_alive():
        assert lease.lost.wait(30)


def test_the_heartbeat_renews_until_it_is_stopped(storage: Storage, address: Address, backend: Any) -> None:
    leases = Leases(storage)
    lease = taken(leases.acquire(address, "alive", 2.0))
    first = leases.holder(address)
    assert first is not None
    with lease.kept_alive():
        while (now := leases.holder(address)) == first:
            assert not lease.lost.wait(0.05)
    assert now is not None
    assert now.until > first.until
    assert not lease.lost.is_set()
    lease.release()
    assert leases.holder(address) is None


def test_a_killed_holder_is_replaced_at_once_on_its_machine(
    store: Store, program: Callable[..., subprocess.Popen[str]], address: Address
) -> None:
    address = Address("pack", "docs", address.key)
    holder = program("hold", address.key, "alone")
    assert holder.stdout is not None
    holder.stdout.readline()
    refused = store.leases.acquire(address, "next", TTL)
    assert isinstance(refused, Holder)
    assert refused.pid == holder.pid
    holder.kill()
    holder.communicate()
    assert taken(store.leases.acquire(address, "next", TTL)).token == 2


def test_while_a_dead_holders_worker_lives_nobody_takes_over(
    store: Store, program: Callable[..., subprocess.Popen[str]], address: Address
) -> None:
    address = Address("pack", "docs", address.key)
    holder = program("hold", address.key, "worker")
    assert holder.stdout is not None
    worker = int(holder.stdout.readline())
    try:
        holder.kill()
        holder.wait()
        assert isinstance(store.leases.acquire(address, "next", TTL), Holder)
        assert store.holder_of(address) is not None
    finally:
        pidfd = os.pidfd_open(worker)
        os.kill(worker, signal.SIGKILL)
        _wait_for_end(pidfd)
        holder.communicate()
    assert taken(store.leases.acquire(address, "next", TTL)).token == 2


def test_a_released_or_lost_lease_can_be_released_again(storage: Storage, address: Address) -> None:
    leases = Leases(storage)
    lease = taken(leases.acquire(address, "one", 0.0))
    successor = taken(leases.acquire(address, "two", TTL))
    lease.release()
    assert isinstance(leases.acquire(address, "three", TTL), Holder)
    successor.release()
    successor.release()
    assert taken(leases.acquire(address, "three", TTL)).token == 3


def test_an_unreadable_lease_is_one_line_that_names_the_file(store: Store, address: Address, backend: Any) -> None:
    backend.overwrite(f"{address.folder}/lease.json", b'{"token": 1')
    with pytest.raises(StoreError, match=r"lease\.json.*delete that file") as caught:
        store.leases.acquire(address, "next", TTL)
    assert "\n" not in str(caught.value)


def _wait_for_end(pidfd: int) -> None:
    select.select([pidfd], [], [], 30)
    os.close(pidfd)
