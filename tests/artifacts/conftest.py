"""Shared by the store's tests: addresses, stores with a cache of their own, and a moto S3 server process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import botocore.session
import pytest
from botocore.config import Config

from artifacts.address import Address
from artifacts.lease import HeldLease
from artifacts.manifest import Manifest
from artifacts.store import Store


@dataclass(frozen=True)
class Server:
    """A running S3 server."""

    endpoint: str
    key: str
    secret: str

    def environment(self) -> dict[str, str]:
        """What makes any AWS client talk to it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> object:
        """A plain botocore client, independent of the code under test."""
        return botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes] | None, seconds: float = 60.0) -> None:
    """Return once something listens; fail when the process ends before it does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process is None or process.poll() is None, "the server ended while starting"
        with socket.socket() as probe:
            probe.settimeout(1.0)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on port {port}")


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A moto server process of this test session, with the bucket `miniseries`."""
    port = free_port()
    log = tmp_path_factory.mktemp("moto") / "log"
    program = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(program, stdout=output, stderr=output)
    try:
        wait_for_port(port, process)
        server = Server(f"http://127.0.0.1:{port}", "AKMOTOEXAMPLE", "moto-secret-example")
        server.client().create_bucket(Bucket="miniseries")
        yield server
    finally:
        process.kill()
        process.wait()


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


@pytest.fixture(scope="session")
def server_tools() -> SimpleNamespace:
    """What other server fixtures need from here."""
    return SimpleNamespace(Server=Server, free_port=free_port, wait_for_port=wait_for_port)
