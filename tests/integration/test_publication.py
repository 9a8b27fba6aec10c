"""The whole of a tag published to a Hub that fails on a schedule, its publisher killed twice in between."""

from __future__ import annotations

import copy
import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import hub_server
import psutil
import pytest
from hub_miniseries import TAG
from running import ROOT, WAIT_SECONDS, Miniseries, end_family

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("finished")]

NOW = {"Retry-After": "0"}
REPOSITORIES = [f"miniseries/nanochat-{TAG}-{kind}" for kind in ("base", "hf-base", "sft", "hf-sft")]
CARD_FILES = {
    *("README.md", "evaluation.json", "samples.md", "lineage.json", "lineage.svg"),
    ".miniseries.json",
}
FAULTS = (
    hub_server.Fault("POST /api/repos/create", 503, NOW),
    hub_server.Fault("POST .*/lfs/objects/batch", 500),
    hub_server.Fault("POST .*_long-base/commit/", hub_server.LOST_ANSWER),
    hub_server.Fault("POST .*-hf-base/tag/", 429, NOW),
    hub_server.Fault("POST .*_long-sft/commit/", 412, NOW),
    hub_server.Fault("GET .*-hf-sft/refs", hub_server.NO_TALK),
    hub_server.Fault("PUT .*/settings", 504, NOW),
    hub_server.Fault("POST /api/collections$", hub_server.LOST_ANSWER),
)


@pytest.fixture
def hub() -> Iterator[hub_server.HubServer]:
    """A Hub on this machine."""
    server = hub_server.HubServer()
    yield server
    server.close()


@pytest.fixture
def publisher(finished: Miniseries, hub: hub_server.HubServer, tmp_path: Path) -> Miniseries:
    """A store in which all is made, and a tag that goes to that Hub."""
    environment = {
        **finished.environment,
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": hub_server.WRITE_TOKEN,
        "HF_HOME": str(tmp_path / "hf-home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1,localhost",
        "MINISERIES_LEASE_SECONDS": "6",  # that whoever comes after one who was killed waits
    }
    program = ROOT / "tests" / "support" / "hub_miniseries.py"
    return replace(finished.on_copy(tmp_path), environment=environment, program=program)


def publish_until(publisher: Miniseries, hub: hub_server.HubServer, request: str) -> None:
    """Publish, and kill everything that does once the Hub has done, but not answered, this request."""
    arrived, killed = threading.Event(), threading.Event()

    def watch(line: str) -> None:
        if line == request and not arrived.is_set():
            arrived.set()
            killed.wait(WAIT_SECONDS)

    hub.watch = watch
    process = publisher.start()
    try:
        assert arrived.wait(WAIT_SECONDS)
    finally:
        end_family(psutil.Process(process.pid))
        hub.watch = None
        killed.set()
    _, said = process.communicate()
    assert hub_server.WRITE_TOKEN not in said


def contents(hub: hub_server.HubServer) -> dict[str, dict[str, bytes]]:
    return {name: dict(repository.files) for name, repository in hub.repositories.items()}


def commits(hub: hub_server.HubServer) -> list[int]:
    """How many each repository has, besides the one that it begins with."""
    return [len(repository.revisions) - 1 for repository in hub.repositories.values()]


def changed(before: Mapping[str, Mapping[str, bytes]], after: Mapping[str, Mapping[str, bytes]]) -> dict[str, set[str]]:
    return {
        name: {path for path in files.keys() | before[name].keys() if before[name].get(path) != files.get(path)}
        for name, files in after.items()
    }


def test_a_tag_reaches_a_failing_hub_whole_and_once_however_often_its_publisher_is_killed(
    publisher: Miniseries, hub: hub_server.HubServer
) -> None:
    hub.faults = list(FAULTS)
    publish_until(publisher, hub, f"POST /api/models/{REPOSITORIES[1]}/commit/main")
    assert list(hub.repositories) == REPOSITORIES[:2]
    publish_until(publisher, hub, f"GET /api/models/{REPOSITORIES[2]}")
    assert all(repository.private for repository in hub.repositories.values())

    done = publisher.run()
    assert done.returncode == 0, done.stderr
    assert hub.faults == []
    assert list(hub.repositories) == REPOSITORIES
    assert commits(hub) == [1, 1, 1, 1]
    assert all(there.tags == {"v1": there.sha} and not there.private for there in hub.repositories.values())
    (collection,) = hub.collections.values()
    assert [item["id"] for item in collection["items"]] == REPOSITORIES

    first, everything = contents(hub), copy.deepcopy((hub.repositories, hub.collections))
    shutil.rmtree(Path(publisher.store) / "publish")  # or nothing would be done at all
    done = publisher.run()
    assert done.returncode == 0, done.stderr
    assert (hub.repositories, hub.collections) == everything

    done = publisher.run(MICRO_VALIDATION_TOKENS="1024")
    assert done.returncode == 0, done.stderr
    told = changed(first, contents(hub))
    assert "evaluation.json" in told[REPOSITORIES[0]]
    assert [paths - CARD_FILES for paths in told.values()] == [set()] * 4
    assert all("README.md" in paths for paths in told.values())
    assert commits(hub) == [2, 2, 2, 2]
    assert all(there.tags.keys() == {"v1", "v2"} for there in hub.repositories.values())
    assert hub_server.WRITE_TOKEN not in done.stdout + done.stderr
