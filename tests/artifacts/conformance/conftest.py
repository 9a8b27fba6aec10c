"""Every test here runs on each kind of store: a folder, moto, and Ceph's RADOS gateway where it is installed.

The gateway is one monitor and one storage daemon in memory, with paxos tuned for a quick start and
`ms mon client mode = crc` because authentication is off (without it the gateway waits for ever).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from s3_server import Server, free_port, wait_for_port

from artifacts.bucket import BucketStorage
from artifacts.folder import FolderStorage
from artifacts.location import cache_folder, store_location
from artifacts.storage import Storage
from artifacts.store import Store

CEPH_PROGRAMS = ("radosgw", "radosgw-admin", "ceph", "ceph-mon", "ceph-osd", "monmaptool")
CEPH_IDENTIFIER = "9a1b9f8e-0000-4000-8000-0123456789ab"
CEPH_CONFIGURATION = """
[global]
fsid = {identifier}
mon host = v2:127.0.0.1:{mon_port}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
run dir = {root}/run
admin socket = {root}/run/$name.$pid.asok
log file = {root}/log/$name.log
pid file = {root}/run/$name.pid
mon data = {root}/mon
osd data = {root}/osd
mon allow pool size one = true
mon warn on pool no redundancy = false
paxos propose interval = 0.05
paxos min wait = 0.01
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 1073741824
ms bind ipv6 = false
[client.rgw]
ms mon client mode = crc
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw data = {root}/rgw
rgw dns name = localhost
rgw crypt require ssl = false
"""


class Backend:
    """One kind of store, and ways to tamper with it behind the store's back."""

    def __init__(self, url: str, cache: Path, client: Any = None) -> None:
        self.url = url
        self.cache = cache
        self._location = store_location(url)
        self._client = client

    def open(self, cache: str = "cache") -> Store:
        """Open the store; another name is another machine's cache."""
        return Store.open(self.url, self.cache / cache)

    def storage(self) -> Storage:
        """The object operations under the store."""
        location = self._location
        if location.folder is not None:
            return FolderStorage(location.folder, location.url)
        return BucketStorage(location.bucket, location.prefix, location.url)

    def overwrite(self, path: str, content: bytes) -> None:
        """Write an object, in place and unconditionally."""
        if self._location.folder is not None:
            target = self._location.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        else:
            self._client.put_object(Bucket=self._location.bucket, Key=self._key(path), Body=content)

    def remove(self, path: str) -> None:
        """Delete an object."""
        if self._location.folder is not None:
            (self._location.folder / path).unlink()
        else:
            self._client.delete_object(Bucket=self._location.bucket, Key=self._key(path))

    def names(self) -> list[str]:
        """Every object, as the store's own listing shows it."""
        return [entry.path for entry in self.storage().listing("")]

    def _key(self, path: str) -> str:
        return f"{self._location.prefix}/{path}"


@pytest.fixture(scope="session")
def rados_gateway(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A Ceph cluster of three processes, with the bucket `miniseries`."""
    missing = [program for program in CEPH_PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f"Ceph is not installed here ({', '.join(missing)} missing)")
    root, port = tmp_path_factory.mktemp("ceph"), free_port()
    try:
        _start_ceph(root, free_port(), port)
        wait_for_port(port, None)
        server = Server(f"http://127.0.0.1:{port}", "AKCEPHEXAMPLE", "ceph-secret-example")
        server.client().create_bucket(Bucket="miniseries")
        yield server
    finally:
        for daemon in ("client.rgw", "osd.0", "mon.a"):
            _stop(root / "run" / f"{daemon}.pid")


def _start_ceph(root: Path, mon_port: int, port: int) -> None:
    for name in ("mon", "osd", "log", "run", "rgw"):
        (root / name).mkdir()
    configuration, monmap = root / "ceph.conf", root / "monmap"
    configuration.write_text(
        CEPH_CONFIGURATION.format(identifier=CEPH_IDENTIFIER, root=root, mon_port=mon_port, port=port)
    )
    conf = ["-c", str(configuration)]
    osd = str(uuid.uuid4())
    user = ["user", "create", "--uid=t", "--display-name=t", "--access-key=AKCEPHEXAMPLE"]
    monitor = ["--addv", "a", f"[v2:127.0.0.1:{mon_port}]", "--fsid", CEPH_IDENTIFIER]
    commands = [
        ["monmaptool", "--create", "--clobber", *monitor, str(monmap)],
        ["ceph-mon", *conf, "--mkfs", "-i", "a", "--monmap", str(monmap)],
        ["ceph-mon", *conf, "-i", "a"],
        ["ceph", *conf, "osd", "new", osd],
        ["ceph-osd", *conf, "-i", "0", "--mkfs", "--osd-uuid", osd],
        ["ceph-osd", *conf, "-i", "0"],
        ["radosgw-admin", *conf, "-n", "client.rgw", *user, "--secret-key=ceph-secret-example"],
        ["radosgw", *conf, "-n", "client.rgw"],
    ]
    with (root / "start.log").open("wb") as log:
        for command in commands:
            subprocess.run(command, stdout=log, stderr=log, check=True, timeout=300)


def _stop(pid_file: Path, patience: float = 4.0) -> None:
    """TERM, then KILL: the gateway does not end by itself once its storage daemon has gone."""
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text())
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while _runs(pid):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    """Whether the process is more than an entry that nobody has reaped."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except FileNotFoundError:
        return False


@pytest.fixture(params=["folder", "moto", pytest.param("ceph", marks=pytest.mark.slow)])
def backend(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """An empty store of each kind."""
    if request.param == "folder":
        return Backend((tmp_path / "store").as_uri(), tmp_path)
    server = request.getfixturevalue("moto_server" if request.param == "moto" else "rados_gateway")
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return Backend(f"s3://miniseries/{uuid.uuid4().hex}", tmp_path, server.client())


@pytest.fixture
def store(backend: Backend) -> Store:
    """The store on that backend."""
    return backend.open()


@pytest.fixture
def storage(backend: Backend) -> Storage:
    """The object operations on that backend."""
    return backend.storage()


@pytest.fixture
def program(backend: Backend) -> Callable[..., subprocess.Popen[str]]:
    """Start `tests/artifacts/programs/NAME.py URL CACHE ARGUMENTS...` as a process of its own, output piped."""

    def start(name: str, *arguments: str) -> subprocess.Popen[str]:
        path = Path(__file__).parent.parent / "programs" / f"{name}.py"
        command = [sys.executable, str(path), backend.url, str(cache_folder(backend.cache / "cache")), *arguments]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    return start
