"""What can be wrong with a folder, each said in one line: a file in the way, a full disk, a read-only one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from artifacts.address import Address
from artifacts.errors import ArtifactDamaged, StoreError, StoreUnavailable
from artifacts.folder import FolderStorage
from artifacts.lease import HeldLease
from artifacts.manifest import Manifest
from artifacts.store import Store

Mount = Callable[[str], Path]


def assert_one_line(error: pytest.ExceptionInfo[StoreUnavailable], *parts: str) -> None:
    """The message is one line and has all `parts`."""
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value)


def test_a_file_where_the_store_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"a file")
    with pytest.raises(StoreUnavailable) as caught:
        Store.open(str(tmp_path / "store"), tmp_path / "cache").check_writable()
    assert_one_line(caught, str(tmp_path / "store"), "a file stands where a folder should be")


def test_a_read_only_file_system_is_named(small_disk: Mount, tmp_path: Path) -> None:
    store = Store.open(str(small_disk("ro,size=1m") / "store"), tmp_path / "cache")
    with pytest.raises(StoreUnavailable) as caught:
        store.check_writable()
    assert_one_line(caught, "read-only", "MINISERIES_STORE")


def test_a_full_disk_is_named_and_what_was_there_stays_whole(
    small_disk: Mount,
    tmp_path: Path,
    address: Address,
    hold: Callable[..., HeldLease],
    make: Callable[..., Manifest],
) -> None:
    store = Store.open(str(small_disk("size=1m") / "store"), tmp_path / "cache")
    made = Address("pack", "earlier", address.key)
    make(store, made, {"rows": b"rows"})
    state = tmp_path / "state"
    state.mkdir()
    (state / "weights").write_bytes(b"w" * 300_000)
    progress = store.progress(address, hold(store, address).token)
    progress.save(1, state)
    (state / "weights").write_bytes(b"x" * 2_000_000)
    with pytest.raises(StoreUnavailable) as caught:
        progress.save(2, state)
    assert_one_line(caught, "the disk is full")
    found = progress.newest()
    assert found is not None
    assert (found.step, (found.path / "weights").read_bytes()) == (1, b"w" * 300_000)
    assert (store.fetch(made) / "rows").read_bytes() == b"rows"


def test_a_process_that_died_while_writing_leaves_no_object(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path / "store", "file:///store")
    storage.create("a.json", b"whole")
    (tmp_path / "store" / ".store" / "staging" / "half").write_bytes(b"ha")
    assert [entry.path for entry in storage.listing("")] == ["a.json"]


def test_what_a_dead_process_left_half_written_goes_after_a_day(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path / "store", "file:///store")
    storage.create("a.json", b"whole")
    staging = tmp_path / "store" / ".store" / "staging"
    for name, age in (("old", 25 * 3600), ("young", 3600)):
        (staging / name).write_bytes(b"half")
        os.utime(staging / name, (time.time() - age, time.time() - age))
    (tmp_path / "source").write_bytes(b"file")
    storage.upload(tmp_path / "source", "files/file")
    assert [path.name for path in staging.iterdir()] == ["young"]


def test_a_link_in_the_output_is_refused(folder_store: Store, address: Address, hold: Callable[..., HeldLease]) -> None:
    with folder_store.attempt(address, hold(folder_store, address)) as attempt:
        (attempt.output / "link").symlink_to("/etc/hostname")
        with pytest.raises(StoreError, match="symbolic link"):
            attempt.commit(stage_version=1, identity={}, inputs={}, metrics={}, provenance={})
    assert folder_store.manifest(address) is None


def test_damage_is_reported_even_where_it_cannot_be_marked(
    folder_store: Store,
    address: Address,
    make: Callable[..., Manifest],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    attempt = make(folder_store, address, {"rows": b"rows"}).attempt
    (tmp_path / "store" / address.folder / "files" / attempt / "rows").write_bytes(b"bows")
    staging = tmp_path / "store" / ".store" / "staging"
    staging.rmdir()
    staging.write_bytes(b"a file where a folder should be")
    with pytest.raises(ArtifactDamaged):
        folder_store.fetch(address)
    assert "could not be marked" in caplog.text
