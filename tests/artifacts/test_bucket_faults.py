"""An S3 server or the way to it misbehaves: answers get lost, races are refused otherwise, bytes flip, none come."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from running import wait_until
from s3_proxy import Proxy, running_proxy
from s3_server import free_port

from artifacts.address import Address
from artifacts.bucket import BucketStorage, Patience
from artifacts.errors import ArtifactDamaged, StoreUnavailable
from artifacts.lease import HeldLease
from artifacts.manifest import Manifest
from artifacts.store import Store

HASTE = Patience(pauses=(0.01, 0.01))
NO_PATIENCE = Patience(read_seconds=0.3, request_seconds=0.6, pauses=(0.01,))


@pytest.fixture
def proxy(moto_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The proxy, which every store of the test goes through."""
    with running_proxy(moto_server.endpoint) as server:
        for name, value in {**moto_server.environment(), "AWS_ENDPOINT_URL": server.endpoint}.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def storage(proxy: Proxy) -> BucketStorage:
    """The object operations behind the proxy."""
    prefix = uuid.uuid4().hex
    return BucketStorage("miniseries", prefix, f"s3://miniseries/{prefix}", HASTE)


@pytest.fixture
def store(proxy: Proxy, tmp_path: Path) -> Store:
    """The same, as a whole store with the usual patience."""
    return Store.open(f"s3://miniseries/{uuid.uuid4().hex}", tmp_path / "cache")


@pytest.mark.parametrize("fault", ["409", "503", "500", "lose"])
def test_a_creation_that_was_refused_for_the_moment_or_whose_answer_was_lost_is_ours(
    proxy: Proxy, storage: BucketStorage, fault: str
) -> None:
    proxy.faults = [fault]
    version = storage.create("a.json", b"ours")
    found = storage.read("a.json")
    assert found is not None
    assert (found.content, found.version) == (b"ours", version)
    assert storage.create("a.json", b"theirs") is None


@pytest.mark.parametrize("fault", ["409", "503", "lose"])
def test_a_replacement_whose_answer_was_lost_is_ours(proxy: Proxy, storage: BucketStorage, fault: str) -> None:
    version = storage.create("a.json", b"first")
    assert version is not None
    proxy.faults = [fault]
    second = storage.replace("a.json", b"second", version)
    found = storage.read("a.json")
    assert found is not None
    assert (found.content, found.version) == (b"second", second)


@pytest.mark.parametrize("fault", ["409", "503"])
def test_a_writer_that_was_told_to_wait_and_finds_another_has_lost(
    proxy: Proxy, storage: BucketStorage, fault: str
) -> None:
    version = storage.create("a.json", b"theirs")
    proxy.faults = [fault]
    assert storage.create("a.json", b"ours") is None
    proxy.faults = [fault]
    assert storage.replace("a.json", b"ours", "0" * 32) is None
    found = storage.read("a.json")
    assert found is not None
    assert (found.content, found.version) == (b"theirs", version)


def test_a_server_that_wants_etags_without_quotes_gets_them(proxy: Proxy, storage: BucketStorage) -> None:
    proxy.bare = True
    version = storage.create("a.json", b"0")
    for number in range(1, 4):
        assert version is not None
        stale, version = version, storage.replace("a.json", str(number).encode(), version)
        assert storage.replace("a.json", b"stale", stale) is None
    assert version is not None


def test_a_server_that_ignores_conditions_is_refused(proxy: Proxy, store: Store) -> None:
    proxy.deaf = True
    with pytest.raises(StoreUnavailable, match="ignores conditional writes"):
        store.check_writable()


def test_a_server_that_swallows_writes_does_not_hang_us(proxy: Proxy, tmp_path: Path) -> None:
    proxy.silent = True
    storage = BucketStorage("miniseries", uuid.uuid4().hex, "s3://miniseries/x", NO_PATIENCE)
    with pytest.raises(StoreUnavailable, match="no answer in time"):
        storage.create("a.json", b"content")
    (tmp_path / "large").write_bytes(b"x" * 100_000)
    with pytest.raises(StoreUnavailable, match="no answer in time"):
        storage.upload(tmp_path / "large", "files/large")
    assert proxy.waited_for == 0


def test_a_byte_flipped_on_the_way_down_is_fetched_again(
    proxy: Proxy, store: Store, address: Address, make: Callable[..., Manifest], tmp_path: Path
) -> None:
    make(store, address, {"rows": b"rows" * 1000})
    elsewhere = Store.open(store.url, tmp_path / "another cache")
    proxy.flips = 2
    assert (elsewhere.fetch(address) / "rows").read_bytes() == b"rows" * 1000
    assert not store.survey()[address.folder].damaged


def test_a_byte_that_is_always_flipped_is_damage_and_never_used(
    proxy: Proxy, store: Store, address: Address, make: Callable[..., Manifest], tmp_path: Path
) -> None:
    make(store, address, {"rows": b"rows" * 1000})
    proxy.flips = 1000
    with pytest.raises(ArtifactDamaged, match=hashlib.sha256(b"rows" * 1000).hexdigest()):
        Store.open(store.url, tmp_path / "another cache").fetch(address)
    assert not [path for path in (tmp_path / "another cache").rglob("rows") if path.is_file()]


def test_a_damaged_copy_in_the_cache_is_replaced_from_the_store(
    proxy: Proxy, store: Store, address: Address, make: Callable[..., Manifest]
) -> None:
    make(store, address, {"rows": b"rows", "more": b"more"})
    folder = store.fetch(address)
    (folder / "rows").write_bytes(b"bows")
    (folder / "more").unlink()
    assert store.fetch(address) == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"rows": b"rows", "more": b"more"}


def test_what_a_reader_can_do_without_is_not_downloaded(
    proxy: Proxy, store: Store, address: Address, make: Callable[..., Manifest], tmp_path: Path
) -> None:
    make(store, address, {"weights": b"w" * 1000, "optimizer": b"o" * 3000, "state": b"{}"})
    reader = Store.open(store.url, tmp_path / "another cache")
    with reader.hold(address, without=("optimizer",)) as folder:
        assert {path.name for path in folder.iterdir()} == {"weights", "state"}
    assert len(proxy.downloads) == 2
    with reader.hold(address) as folder:
        assert {path.name for path in folder.iterdir()} == {"weights", "optimizer", "state"}
    assert len(proxy.downloads) == 3
    with reader.hold(address, without=("optimizer", "history")) as folder:  # the copy stays whole, and is counted so
        assert {path.name for path in folder.iterdir()} == {"weights", "optimizer", "state"}
    counted = [path.read_text() for path in (tmp_path / "another cache").rglob("copies/**/*") if path.is_file()]
    assert counted == ["4002"]


def test_a_process_killed_in_the_middle_of_a_download_leaves_nothing_that_is_believed_or_stays(
    proxy: Proxy, store: Store, address: Address, make: Callable[..., Manifest], tmp_path: Path
) -> None:
    make(store, address, {"rows": b"rows" * 100_000})
    cache = tmp_path / "another cache"
    proxy.stalls = 1
    program = Path(__file__).parent / "programs" / "fetch.py"
    fetching = subprocess.Popen([sys.executable, str(program), store.url, str(cache), address.key])
    assert proxy.stalled.wait(60)
    wait_until(lambda: [path for path in cache.rglob("arriving/**/*") if path.is_file()])
    fetching.send_signal(signal.SIGKILL)
    fetching.wait()
    assert not [path for path in cache.rglob("rows") if path.is_file()]
    assert (Store.open(store.url, cache).fetch(address) / "rows").read_bytes() == b"rows" * 100_000
    assert not [path for path in cache.rglob("arriving/**/*") if path.is_file()]


def test_who_wants_the_same_artifact_at_once_shares_one_download(
    proxy: Proxy, store: Store, address: Address, make: Callable[..., Manifest], tmp_path: Path
) -> None:
    make(store, address, {"rows": b"rows" * 1000})
    readers = [Store.open(store.url, tmp_path / "another cache") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda reader: reader.fetch(address), readers))
    assert [(folder / "rows").read_bytes() for folder in folders] == [b"rows" * 1000]
    assert len(proxy.downloads) == 1


def test_a_commit_whose_answer_was_lost_counts(
    proxy: Proxy, store: Store, address: Address, hold: Callable[..., HeldLease], tmp_path: Path
) -> None:
    with store.attempt(address, hold(store, address)) as attempt:
        (attempt.output / "rows").write_bytes(b"rows")
        proxy.faults = ["", "", "lose"]  # extent, lease, and a manifest that nobody hears of
        attempt.commit(stage_version=1, identity={}, inputs={}, metrics={}, provenance={})
    assert (Store.open(store.url, tmp_path / "another cache").fetch(address) / "rows").read_bytes() == b"rows"


def test_when_nobody_can_say_whether_a_commit_counts_its_files_stay(
    proxy: Proxy, store: Store, address: Address, hold: Callable[..., HeldLease], storage: BucketStorage
) -> None:
    lease = hold(store, address)
    with store.attempt(address, lease) as attempt:
        (attempt.output / "rows").write_bytes(b"rows")
        proxy.faults = ["", "", "503", "503", "503", "503"]
        with pytest.raises(StoreUnavailable, match="manifest"):
            attempt.commit(stage_version=1, identity={}, inputs={}, metrics={}, provenance={})
    uploaded = BucketStorage("miniseries", store.url.rpartition("/")[2], store.url).listing(address.folder)
    assert [entry.path for entry in uploaded if "/files/" in entry.path] == [
        f"{address.folder}/files/{lease.attempt}/rows"
    ]


def test_an_unreachable_server_is_one_line_without_its_password(
    monkeypatch: pytest.MonkeyPatch, moto_server: Any
) -> None:
    for name, value in moto_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://someone:sesame-open@127.0.0.1:{free_port()}")
    with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
        BucketStorage("miniseries", "x", "s3://miniseries/x", HASTE).read("a.json")
    assert "\n" not in str(caught.value)
    assert "sesame" not in str(caught.value)


def test_a_bucket_that_does_not_exist_is_named(
    monkeypatch: pytest.MonkeyPatch, moto_server: Any, tmp_path: Path
) -> None:
    for name, value in moto_server.environment().items():
        monkeypatch.setenv(name, value)
    store = Store.open("s3://no-such-bucket/prefix", tmp_path)
    for act in (store.check_writable, store.survey, store.addresses):
        with pytest.raises(StoreUnavailable, match=r"no-such-bucket.*the bucket does not exist"):
            act()


def test_without_credentials_the_line_says_which_to_set(
    monkeypatch: pytest.MonkeyPatch, moto_server: Any, tmp_path: Path
) -> None:
    for name, value in moto_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreUnavailable, match=r"no usable credentials.*AWS_ACCESS_KEY_ID"):
        Store.open("s3://miniseries/prefix", tmp_path).check_writable()
