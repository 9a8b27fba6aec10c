"""Real processes around real stores: the command line, a Prefect server, an S3 server."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from running import Miniseries, end_family, wait_until
from s3_server import Server, free_port, running_moto
from segment_hashes import segment_hashes


@pytest.fixture
def miniseries(tmp_path: Path) -> Miniseries:
    """An empty local store."""
    return Miniseries(tmp_path, str(tmp_path / "store"))


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server process of our own; yields its API's URL."""
    port = free_port()
    environment = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path_factory.mktemp("prefect")),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}/api"

    def healthy() -> bool:
        assert process.poll() is None, "the Prefect server ended"
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(healthy)
            yield url
        finally:
            end_family(psutil.Process(process.pid))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Miniseries:
    """A store in which `micro_drope_50_long` went through every stage. Copy it before changing it."""
    home = tmp_path_factory.mktemp("finished")
    whole = Miniseries(home, str(home / "store"), {"PREFECT_API_URL": prefect_server})
    done = whole.run("run", "micro_drope_50_long")
    assert done.returncode == 0, done.stderr
    (home / "output").write_text(done.stdout)
    return whole


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Miniseries:
    """A store with everything that the first pretraining segment of `endless` reads. Copy it before changing it."""
    home = tmp_path_factory.mktemp("prepared")
    store = Miniseries(home, str(home / "store"))
    store.json("make", "endless", "pack")
    return store


@pytest.fixture(scope="session")
def undisturbed(prepared: Miniseries, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The hashes of the first segment of `endless`, made here and in one go."""
    store = prepared.on_copy(tmp_path_factory.mktemp("undisturbed"))
    store.json("make", "endless_drope_25", "pretrain")
    return segment_hashes(store)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A moto server process with the bucket `miniseries`."""
    with running_moto(tmp_path_factory.mktemp("moto") / "log") as server:
        yield server
