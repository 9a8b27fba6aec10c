"""Tombstones, their undo window and deletion, on each kind of store."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from artifacts.address import Address
from artifacts.errors import StoreError
from artifacts.garbage.tombstone import Tombstone, What
from artifacts.lease import HeldLease
from artifacts.manifest import Manifest
from artifacts.store import Store

TTL = 60.0
FILES = {"rows.bin": b"rows" * 50, "more/index": b"0"}


def nobody_waits(_seconds: float = 0.0) -> None:
    raise AssertionError("nothing was to be waited for")


def stone_of(store: Store, address: Address, what: What = "artifact") -> Tombstone:
    return Tombstone(folder=address.folder, what=what, seen=tuple(store.census().holdings[address.folder].names))


def test_what_is_marked_stays_readable_until_it_is_deleted_whole(
    store: Store, backend: Any, address: Address, make: Callable[..., Manifest]
) -> None:
    make(store, address, FILES)
    stone = stone_of(store, address)
    assert store.trash.mark([stone]) == 1
    assert store.trash.mark([stone_of(store, address)]) == 0, "the first mark counts"
    assert store.trash.tombstones() == {address.folder: stone}
    assert (backend.open("elsewhere").fetch(address) / "rows.bin").read_bytes() == FILES["rows.bin"]

    done = store.trash.delete([stone], TTL, nobody_waits)
    assert (done.gone, done.void, done.busy) == ([address.folder], [], [])
    assert store.manifest(address) is None
    assert backend.names() == [f"{address.folder}/lease.json"], "a lease is never deleted: its token only grows"


def test_a_mark_that_was_taken_back_deletes_nothing(
    store: Store, backend: Any, address: Address, make: Callable[..., Manifest]
) -> None:
    make(store, address, FILES)
    stone = stone_of(store, address)
    store.trash.mark([stone])
    assert backend.open("elsewhere").trash.take_back([address.folder], TTL) == [address.folder]
    assert store.trash.delete([stone], TTL, nobody_waits).void == [address.folder]
    assert store.verify(address) == []


def test_a_stage_that_is_used_again_is_kept(store: Store, address: Address, make: Callable[..., Manifest]) -> None:
    make(store, address, FILES)
    store.trash.mark([stone_of(store, address)])
    assert store.trash.keep(address, TTL, nobody_waits)
    assert not store.trash.keep(address, TTL, nobody_waits)
    assert store.trash.tombstones() == {}


def test_a_stage_that_was_made_again_since_is_kept(
    store: Store, address: Address, make: Callable[..., Manifest]
) -> None:
    make(store, address, FILES)
    stone = stone_of(store, address)
    store.trash.mark([stone])
    assert store.trash.delete([stone], TTL, nobody_waits).gone == [address.folder]
    store.trash.mark([stone])
    make(store, address, FILES)
    assert store.trash.delete([stone], TTL, nobody_waits).void == [address.folder]
    assert store.verify(address) == []
    assert store.trash.tombstones() == {}


def test_what_somebody_holds_is_not_touched(
    store: Store, backend: Any, address: Address, make: Callable[..., Manifest], hold: Callable[..., HeldLease]
) -> None:
    make(store, address, FILES)
    stone = stone_of(store, address)
    store.trash.mark([stone])
    lease = hold(store, address)
    other = backend.open("elsewhere")
    assert other.trash.delete([stone], TTL, nobody_waits).busy == [address.folder]
    assert other.trash.take_back([address.folder], TTL) == []
    waits: list[None] = []

    def wait() -> None:
        waits.append(None)
        lease.release()

    assert other.trash.keep(address, TTL, wait)
    assert len(waits) == 1
    assert store.verify(address) == []


def test_leftovers_go_and_the_artifact_beside_them_stays(
    store: Store, backend: Any, address: Address, make: Callable[..., Manifest]
) -> None:
    manifest = make(store, address, FILES)
    folder = address.folder
    for path in ("files/0001-dead/half", "extent/0001-dead-1-4", "progress/00000010-1/files/weights"):
        backend.overwrite(f"{folder}/{path}", b"half")
    stone = Tombstone(folder=folder, what="leftovers", seen=("files/0001-dead", "progress/00000010-1"))
    store.trash.mark([stone])
    assert not store.trash.keep(address, TTL, nobody_waits), "using the artifact does not keep what is left beside it"
    assert store.trash.delete([stone], TTL, nobody_waits).gone == [folder]
    assert store.verify(address) == []
    assert {name.split("/")[3] for name in backend.names() if f"{folder}/files/" in name} == {manifest.attempt}
    assert not [name for name in backend.names() if "/progress/" in name]


def test_checkpoints_that_are_newer_than_the_mark_keep_an_unfinished_stage(
    store: Store, backend: Any, address: Address
) -> None:
    old, new = f"{address.folder}/progress/00000010-1/checkpoint.json", f"{address.folder}/progress/00000020-1/files/w"
    backend.overwrite(old, b"{}")
    stone = stone_of(store, address, "unfinished")
    store.trash.mark([stone])
    backend.overwrite(new, b"w")
    assert store.trash.delete([stone], TTL, nobody_waits).void == [address.folder]
    assert {old, new} <= set(backend.names())

    again = stone_of(store, address, "unfinished")
    store.trash.mark([again])
    assert store.trash.delete([again], TTL, nobody_waits).gone == [address.folder]
    assert backend.names() == [f"{address.folder}/lease.json"]


def test_an_artifact_whose_manifest_cannot_be_read_is_left_alone(
    store: Store, backend: Any, address: Address, make: Callable[..., Manifest]
) -> None:
    make(store, address, FILES)
    stone = stone_of(store, address)
    store.trash.mark([stone])
    backend.overwrite(f"{address.folder}/manifest.json", b"{}")
    before = backend.names()
    assert store.trash.delete([stone], TTL, nobody_waits).unreadable == [address.folder]
    assert backend.names() == before


def test_a_damaged_tombstone_is_refused_in_one_line_that_names_it(store: Store, backend: Any, address: Address) -> None:
    backend.overwrite(f"trash/{address.folder}.json", b"{}")
    with pytest.raises(StoreError, match=f"trash/{address.folder}.json cannot be read: .*; delete that file"):
        store.trash.tombstones()


def test_a_running_plan_is_known_to_others_while_it_runs_and_for_a_day_after_it_was_killed(
    store: Store, backend: Any, address: Address
) -> None:
    other = backend.open("elsewhere")
    with store.running_plans.running([address.folder], "run a_tag"):
        (record,) = [name for name in backend.names() if name.startswith("plans/")]
        content = backend.storage().read(record).content
        now = time.time()
        assert "run a_tag" in other.running_plans.folders(now)[address.folder]
        assert other.running_plans.folders(now + 25 * 3600) == {}
    assert other.running_plans.folders(now) == {}
    backend.overwrite(f"plans/{uuid.uuid4().hex}.json", content)
    assert other.running_plans.forget(now + 3600) == 0
    assert other.running_plans.forget(now + 25 * 3600) == 1
    assert not [name for name in backend.names() if name.startswith("plans/")]
