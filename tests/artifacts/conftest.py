"""Shared by the store's tests: addresses, stores with a cache of their own, and a moto S3 server process."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from s3_server import Server, running_moto

from artifacts.address import Address
from artifacts.lease import HeldLease
from artifacts.manifest import Manifest
from artifacts.store import Store


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A moto server process of this test session, with the bucket `miniseries`."""
    with running_moto(tmp_path_factory.mktemp("moto") / "log") as server:
        yield server


@pytest.fixture(autouse=True)
def _no_credentials_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests neither use nor depend on what this machine is configured with."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "MINISERIES_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


@pytest.fixture
def address() -> Address:
    """An artifact of its own for every test."""
    return Address("pack", "docs-00000-00002", uuid.uuid4().hex * 2)


@pytest.fixture
def folder_store(tmp_path: Path) -> Store:
    """A store in a folder."""
    return Store.open(str(tmp_path / "store"), tmp_path / "cache")


def hold(store: Store, address: Address, ttl: float = 60.0) -> HeldLease:
    """Acquire a lease that must be free."""
    lease = store.leases.acquire(address, "test", ttl)
    assert isinstance(lease, HeldLease), lease
    return lease


def make(store: Store, address: Address, files: dict[str, bytes]) -> Manifest:
    """Make an artifact of `files` the way the pipeline does."""
    lease = hold(store, address)
    with store.attempt(address, lease) as attempt:
        for path, content in files.items():
            (attempt.output / path).parent.mkdir(parents=True, exist_ok=True)
            (attempt.output / path).write_bytes(content)
        manifest = attempt.commit(stage_version=1, identity={"n": 1}, inputs={}, metrics={"rows": 2}, provenance={})
    lease.release()
    return manifest


@pytest.fixture(name="hold")
def _hold() -> Callable[..., HeldLease]:
    """`hold(store, address, ttl)`."""
    return hold


@pytest.fixture(name="make")
def _make() -> Callable[..., Manifest]:
    """`make(store, address, files)`."""
    return make
