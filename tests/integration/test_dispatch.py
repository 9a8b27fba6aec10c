"""MINISERIES_DISPATCH=deployment: heavy stages as runs of gpu-job/h100; a real server, real workers and torchrun."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prefect_api import PrefectApi
from running import Miniseries, wait_until
from segment_hashes import segment_hashes

from artifacts.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("dispatch")]
FLOWS = "tests/support/micro_flow.py"
GPU_POOL, CPU_POOL = "dispatch-gpu", "dispatch-cpu"
BASE = ("--layout", "native", "--phase", "base", "--yes", "--json")  # of `export`: what a base needs, told on stderr
WORKERS = {"MINISERIES_CHECKPOINT_SECONDS": "0.2", "MINISERIES_PROCESSES": "1"}


@pytest.fixture(scope="module")
def api(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectApi]:
    """A server with a GPU pool, on which a worker runs one job at a time, and a pool with a worker for pipelines."""
    server, home = PrefectApi(prefect_server), tmp_path_factory.mktemp("prefect")
    for pool in (GPU_POOL, CPU_POOL):
        server.create_pool(pool)
    server.deploy(
        home,
        {"name": "h100", "entrypoint": f"{FLOWS}:gpu_job", "work_pool": {"name": GPU_POOL}},
        {
            "name": "endless",
            "entrypoint": f"{FLOWS}:pipeline",
            "parameters": {"tag": "endless_drope_25", "until": "native-base"},
            "work_pool": {"name": CPU_POOL},
        },
    )
    with ExitStack() as workers:
        workers.enter_context(server.worker(home / "jobs", GPU_POOL, WORKERS))
        workers.enter_context(server.worker(home / "pipelines", CPU_POOL, WORKERS))
        yield server


@pytest.fixture
def delegating(prepared: Miniseries, api: PrefectApi, tmp_path: Path) -> Miniseries:
    """The command line on a store of its own, which is that of the GPU jobs too."""
    environment = {"PREFECT_API_URL": api.url, "MINISERIES_DISPATCH": "deployment"}
    store = replace(prepared.on_copy(tmp_path), environment=environment)
    for deployment in ("gpu-job/h100", "pipeline/endless"):
        variables = store.environment_for({})
        api.set_environment(
            deployment,
            {
                name: variables[name]
                for name in ("MINISERIES_STORE", "HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME")
            }
            | {"MINISERIES_DISPATCH": "deployment"},  # which a GPU job must not heed
        )
    return store


def heavy_stage(store: Miniseries, tag: str, kind: str) -> dict[str, Any]:
    """As `plan` lists it."""
    plan = store.json("plan", tag, "--json")
    return next(stage for stage in plan["stages"] if stage["kind"] == kind)


def gpu_jobs(api: PrefectApi, store: Miniseries, key: str) -> list[dict[str, Any]]:
    """The GPU jobs of a stage, the last one is the newest."""
    return api.gpu_jobs(Store.open(store.store).url, key)


def resumed_steps(store: Miniseries, kind: str) -> list[int]:
    """The steps from which attempts continued, by their logs."""
    logs = store.home.glob(f"state/**/{kind}/*.log")
    lines = [line for log in logs for line in log.read_text().splitlines() if "continuing at step" in line]
    return sorted(int(line.split("continuing at step ")[1].split()[0]) for line in lines)


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """The line of the command's progress that has these words."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            return line
    raise AssertionError(f"it never said {words!r}: {lines}")


@pytest.fixture
def started(delegating: Miniseries) -> Iterator[list[subprocess.Popen[str]]]:
    """What a test has started; it ends with the test, and its GPU jobs with it."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.terminate()
        process.communicate()


def test_a_cancelled_pipeline_takes_its_gpu_job_along_and_another_that_waits_goes_on_from_the_checkpoint(
    api: PrefectApi,
    delegating: Miniseries,
    undisturbed: dict[str, str],
    started: list[subprocess.Popen[str]],
) -> None:
    key = heavy_stage(delegating, "endless_drope_25", "pretrain")["key"]
    api.pause_pool(GPU_POOL, is_paused=True)
    first = api.start("pipeline/endless")
    wait_until(lambda: gpu_jobs(api, delegating, key))
    started.append(delegating.start("export", "endless_drope_25", *BASE))
    read_until(started[0], "following run 1 of gpu-job/h100")
    api.pause_pool(GPU_POOL, is_paused=False)
    wait_until(delegating.checkpoint("pretrain"))
    *_, job = gpu_jobs(api, delegating, key)
    api.cancel(first["id"])
    api.wait_for(first["id"], "CANCELLED")
    api.wait_for(job["id"], "CANCELLED")

    read_until(started[0], "handed to run")
    wait_until(lambda: delegating.manifests("pretrain"))
    assert segment_hashes(delegating) == undisturbed
    (step,) = resumed_steps(delegating, "pretrain")
    assert step > 0


def test_without_a_server_or_a_deployment_there_is_one_line(miniseries: Miniseries, prefect_server: str) -> None:
    done = miniseries.run("run", "micro", "--yes", MINISERIES_DISPATCH="deployment", PREFECT_API_URL="")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("miniseries: ")]
    assert "MINISERIES_DISPATCH=deployment needs a Prefect server" in line
    assert "Traceback" not in done.stderr
