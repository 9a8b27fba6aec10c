"""Settings from the environment: what is not usable is named, in one line, before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.settings import CHECKPOINT_SECONDS, DISPATCHED_JOBS, SettingsError, settings_from_environment

COUNTS = ("PROCESSES", "MICRO_BATCH", "PACKERS")
NAMES = (*COUNTS, "CHECKPOINT_SECONDS", "LEASE_SECONDS", "GRACE_SECONDS", "HUB", "PACK_CLUSTER", "DISPATCH", "GPU_JOBS")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MINISERIES_STORE", str(tmp_path))
    for name in NAMES:
        monkeypatch.delenv(f"MINISERIES_{name}", raising=False)


def test_unset_means_the_defaults(tmp_path: Path) -> None:
    settings = settings_from_environment()
    assert settings.runtime.checkpoint_seconds == CHECKPOINT_SECONDS
    assert settings.runtime.micro_batch_rows is None
    assert settings.runtime.processes >= 1
    assert settings.runtime.publication_url == f"{tmp_path.as_uri()}/hub"


def test_what_is_set_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINISERIES_PROCESSES", "3")
    monkeypatch.setenv("MINISERIES_MICRO_BATCH", "4")
    monkeypatch.setenv("MINISERIES_LEASE_SECONDS", "0.5")
    settings = settings_from_environment()
    assert (settings.runtime.processes, settings.runtime.micro_batch_rows) == (3, 4)
    assert settings.lease_seconds == 0.5


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", ["many", "0", "-1", "1.5", "inf", "nan", "²"])
def test_a_count_must_be_a_whole_number_above_0(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"MINISERIES_{name}", value)
    with pytest.raises(SettingsError, match=f"MINISERIES_{name}='{value}'"):
        settings_from_environment()


@pytest.mark.parametrize("name", ["CHECKPOINT_SECONDS", "LEASE_SECONDS", "GRACE_SECONDS"])
@pytest.mark.parametrize("value", ["soon", "0", "-1", "inf", "nan"])
def test_a_time_must_be_a_finite_number_above_0(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"MINISERIES_{name}", value)
    with pytest.raises(SettingsError, match=f"MINISERIES_{name}='{value}'"):
        settings_from_environment()


def test_groups_are_packed_here_unless_a_cluster_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_from_environment().pack_cluster is None
    monkeypatch.setenv("MINISERIES_PACK_CLUSTER", "dask://scheduler:8786")
    cluster = settings_from_environment().pack_cluster
    assert cluster is not None
    assert (cluster.kind, cluster.address) == ("dask", "tcp://scheduler:8786")


def test_a_cluster_that_is_none_is_named_without_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINISERIES_PACK_CLUSTER", "dask://me:my-password@scheduler:8786")
    with pytest.raises(SettingsError, match="set dask://host:port") as raised:
        settings_from_environment()
    assert "my-password" not in str(raised.value)


def test_heavy_stages_are_made_here_one_at_a_time_unless_something_else_has_the_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = settings_from_environment()
    assert (here.dispatch, here.gpu_jobs) == ("inline", 1)
    monkeypatch.setenv("MINISERIES_DISPATCH", "deployment")
    elsewhere = settings_from_environment()
    assert (elsewhere.dispatch, elsewhere.gpu_jobs) == ("deployment", DISPATCHED_JOBS)
    monkeypatch.setenv("MINISERIES_GPU_JOBS", "3")
    assert settings_from_environment().gpu_jobs == 3
    monkeypatch.setenv("MINISERIES_DISPATCH", "cloud")
    with pytest.raises(SettingsError, match="MINISERIES_DISPATCH='cloud' is unknown; set inline, deployment, slurm"):
        settings_from_environment()
