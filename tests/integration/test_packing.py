"""Shard groups packed by one thread, by two, by the workers of a real Dask cluster: the same bytes, each group once."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grouped_miniseries
import pytest
from distributed import Client
from packing_flow import pack_groups
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from running import Miniseries, wait_until
from s3_server import free_port

from artifacts.store import Store
from core.planning.catalogue import stages_of
from core.planning.stage import Stage
from core.recipes.table import recipes
from core.stages.kind import StageKind
from tasks.pack_cluster import PackCluster
from tasks.settings import RunSettings, SettingsError, settings_from_environment

PROGRAM = Path(grouped_miniseries.__file__)
GROUPS = 3  # of the eight: enough for two packers to work beside each other, and for one of them to be left over


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Miniseries:
    """A store with everything that packing reads."""
    home = tmp_path_factory.mktemp("prepared")
    store = Miniseries(home, str(home / "store"), program=PROGRAM)
    store.json("make", grouped_miniseries.TAG, "tokenizer")
    return store


@pytest.fixture(scope="module")
def groups() -> Iterator[list[Stage]]:
    """Some pack stages of `grouped`, whose tag this process knows meanwhile."""
    before = dict(recipes())
    grouped_miniseries.register()
    packs = [stage for stage in stages_of(grouped_miniseries.TAG).values() if stage.kind is StageKind.PACK]
    yield packs[:GROUPS]
    recipes().clear()
    recipes().update(before)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PackCluster]:
    """A Dask scheduler and two workers, processes with an environment that says nothing of the run."""
    home = tmp_path_factory.mktemp("cluster")
    told = home / "scheduler.json"
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("MINISERIES_", "PREFECT_"))}
    environment = {
        **bare,
        "HOME": str(home),
        "XDG_STATE_HOME": str(home),
        "PREFECT_HOME": str(home / "prefect"),
        "PYTHONPATH": os.pathsep.join([str(PROGRAM.parent), os.environ.get("PYTHONPATH", "")]),
    }
    local = ("--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(told))
    commands = (
        ("dask_scheduler", *local, "--port", "0"),
        *2 * [("dask_worker", *local, "--nthreads", "1", "--no-nanny", "--local-directory", str(home))],
    )
    with ExitStack() as stack:
        for program, *arguments in commands:
            command = [sys.executable, "-m", f"distributed.cli.{program}", *arguments]
            process = stack.enter_context(
                subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
            stack.callback(process.kill)
            wait_until(told.exists)
        address = json.loads(told.read_text())["address"]
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=300)
        yield PackCluster.parse(address)


@pytest.fixture
def settings(
    prepared: Miniseries, prefect_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunSettings]:
    """Those of a run into a copy of the prepared store, reported to the Prefect server."""
    environment = {
        "MINISERIES_STORE": prepared.on_copy(tmp_path).store,
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "OMP_NUM_THREADS": "1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with temporary_settings({PREFECT_API_URL: prefect_server, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield settings_from_environment()


def packed(settings: RunSettings, stages: list[Stage]) -> dict[str, Any]:
    return pack_groups(grouped_miniseries.TAG, stages, settings, settings.open_store())


def hashes(settings: RunSettings, stages: list[Stage]) -> dict[str, list[tuple[str, str]]]:
    """sha256 of every file of every group, by key."""
    store = settings.open_store()
    manifests = {stage.key: store.manifest(stage.address) for stage in stages}
    return {
        key: [(file.path, file.sha256) for file in manifest.files]
        for key, manifest in manifests.items()
        if manifest is not None
    }


@pytest.fixture(scope="module")
def by_one(
    prepared: Miniseries, groups: list[Stage], tmp_path_factory: pytest.TempPathFactory, prefect_server: str
) -> dict[str, list[tuple[str, str]]]:
    """What one packer makes."""
    home = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch, temporary_settings({PREFECT_API_URL: prefect_server}):
        patch.setenv("MINISERIES_STORE", prepared.on_copy(home).store)
        patch.setenv("XDG_STATE_HOME", str(home))
        settings = replace(settings_from_environment(), packers=1)
        assert {reference["state"] for reference in packed(settings, groups).values()} == {"made"}
        return hashes(settings, groups)


def test_two_packers_make_what_one_makes(
    settings: RunSettings, groups: list[Stage], by_one: Mapping[str, list[tuple[str, str]]]
) -> None:
    assert len(by_one) == GROUPS
    ended = packed(replace(settings, packers=2), groups)
    assert {reference["state"] for reference in ended.values()} == {"made"}
    assert hashes(settings, groups) == by_one


def test_a_dask_cluster_makes_what_one_makes_and_then_finds_it_made(
    settings: RunSettings, groups: list[Stage], by_one: Mapping[str, list[tuple[str, str]]], cluster: PackCluster
) -> None:
    away = replace(settings, pack_cluster=cluster)
    assert {reference["state"] for reference in packed(away, groups).values()} == {"made"}
    assert hashes(settings, groups) == by_one
    assert {reference["state"] for reference in packed(away, groups).values()} == {"cached"}


def test_a_worker_that_does_not_see_the_store_is_told_by_name(
    settings: RunSettings, groups: list[Stage], cluster: PackCluster, tmp_path: Path
) -> None:
    elsewhere = Store.open(str(tmp_path / "elsewhere"))
    away = replace(settings, pack_cluster=cluster)
    (error,) = pack_groups(grouped_miniseries.TAG, groups[:1], away, elsewhere).values()
    assert "the worker on" in str(error)
    assert "finds no tokenizer/" in str(error) or "finds no corpus/" in str(error)
    assert "name a store that all workers share" in str(error)


def test_a_scheduler_that_does_not_answer_is_one_line(settings: RunSettings, groups: list[Stage]) -> None:
    nobody = PackCluster.parse(f"dask://127.0.0.1:{free_port()}")
    with pytest.raises(SettingsError, match=r"does not answer: .*; start its scheduler, or unset the variable"):
        packed(replace(settings, pack_cluster=nobody), groups)


def test_a_cluster_whose_package_is_missing_is_one_line(
    settings: RunSettings, groups: list[Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prefect_ray", None)
    ray = PackCluster.parse("ray://127.0.0.1:10001")
    with pytest.raises(SettingsError, match=r"pip install 'miniseries\[ray\]' here and where its workers run"):
        packed(replace(settings, pack_cluster=ray), groups)


@pytest.mark.slow
def test_killed_half_way_only_the_missing_groups_are_packed_and_by_whom_does_not_matter(
    prepared: Miniseries,
    groups: list[Stage],
    by_one: Mapping[str, list[tuple[str, str]]],
    cluster: PackCluster,
    prefect_server: str,
    tmp_path: Path,
) -> None:
    environment = {"PREFECT_API_URL": prefect_server, "MINISERIES_LEASE_SECONDS": "3"}
    store = replace(prepared.on_copy(tmp_path), environment=environment)

    def committed() -> dict[str, bytes]:
        return {path.parent.name: path.read_bytes() for path in Path(store.store).glob("pack/*/manifest.json")}

    first = store.start("run", grouped_miniseries.TAG, MINISERIES_PACKERS="1")
    wait_until(committed)
    first.kill()
    first.communicate()
    before = committed()
    wanted = {stage.address.folder.rpartition("/")[2] for stage in groups}
    assert not wanted <= before.keys()

    second = store.start("run", grouped_miniseries.TAG, MINISERIES_PACK_CLUSTER=cluster.address)
    wait_until(lambda: wanted <= committed().keys())
    second.send_signal(signal.SIGTERM)
    output = second.communicate()
    after = committed()
    assert {name: after[name] for name in before} == before
    assert hashes(replace(settings_from_environment(), store_url=store.store), groups) == by_one
    shown = re.findall(r"pack python-docs shards .* \[(\w{8})\]: cached in", "".join(output))
    assert sorted(shown) == sorted(name.rpartition("-")[2][:8] for name in before)
