"""The GPU pool as a scheduler, against a real server and without a worker: who creates, who shares, what goes first."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect import flow, runtime, task
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_api import PrefectApi
from running import wait_until
from s3_server import free_port

from core.planning.catalogue import stages_of
from core.planning.stage import Stage
from core.stages.kind import Resource
from flows.supervision import RunIsOver, supervision
from tasks.dispatch.gpu_pool import GpuPool, open_gpu_pool
from tasks.dispatch.jobs import Commission, Job, Phase, SchedulerAway
from tasks.dispatch.turn import in_turn
from tasks.display import LineDisplay
from tasks.launch import Launcher
from tasks.perform import Assignment
from tasks.settings import SettingsError, settings_from_environment

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("dispatch")]
HEAVY = [stage for stage in stages_of("tiny").values() if stage.definition.resource is Resource.GPU]
POOL = "no-worker"


@pytest.fixture
def api(prefect_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrefectApi]:
    """The server, used by this process, with `gpu-job/h100` on a pool that nobody works for; a store of our own."""
    monkeypatch.setenv("MINISERIES_STORE", str(tmp_path / "store"))
    server = PrefectApi(prefect_server)
    pool = f"{POOL}-{uuid4().hex[:8]}"
    server.create_pool(pool)
    flow = server.send("POST", "flows/", {"name": "gpu-job"})
    deployment = {"name": "h100", "flow_id": flow["id"], "work_pool_name": pool, "entrypoint": "none.py:none"}
    server.send("POST", "deployments/", deployment)
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        yield server


def commission(stage: Stage) -> Commission:
    assignment = Assignment(
        stage=stage,
        settings=settings_from_environment(),
        launcher=Launcher.TORCHRUN,
        title=stage.name,
        display=LineDisplay(logging.getLogger(__name__)),
    )
    return Commission(tag="tiny", assignment=assignment)


@pytest.fixture
def pool(api: PrefectApi) -> Iterator[GpuPool]:
    with open_gpu_pool() as pool:
        yield pool


def submitted(pool: GpuPool, stage: Stage) -> Job:
    """Submitted as whoever delegates does it: a server that is too busy is asked again."""

    def job() -> Job | None:
        try:
            return pool.submit(commission(stage))
        except SchedulerAway:
            return None

    return wait_until(job)


def name_of_submitted(stage: Stage) -> str:
    """With a connection of its own, as every stage of a run has one."""
    with open_gpu_pool() as pool:
        return submitted(pool, stage).name


def scheduled(api: PrefectApi) -> list[dict[str, Any]]:
    """What a worker of the pool is given, in this order."""
    pool = api.send("GET", "deployments/name/gpu-job/h100")["work_pool_name"]
    found = api.send("POST", f"work_pools/{pool}/get_scheduled_flow_runs", {"limit": 50})
    return [each["flow_run"] for each in found]


def test_what_is_due_first_goes_first_whenever_it_was_submitted(api: PrefectApi, pool: GpuPool) -> None:
    now = datetime.now(UTC)
    for stage, seconds in zip(HEAVY[:3], (1.0, 3.0, 2.0), strict=True):
        in_turn(now - timedelta(seconds=seconds), lambda stage=stage: submitted(pool, stage))
    assert [run["name"] for run in scheduled(api)] == [HEAVY[index].name for index in (1, 2, 0)]


def test_two_who_submit_at_once_get_the_same_run_and_both_find_it(pool: GpuPool) -> None:
    contexts = [copy_context() for _ in range(4)]
    with ThreadPoolExecutor(len(contexts)) as threads:
        names = list(threads.map(lambda context: context.run(name_of_submitted, HEAVY[0]), contexts))
    assert len(set(names)) == 1
    found = pool.find(commission(HEAVY[0]))
    assert found is not None
    assert found.name == names[0]
    assert "run 1 of gpu-job/h100 (http" in found.name


def test_a_run_that_waits_says_so_and_whose_it_is_and_that_nobody_works_for_its_pool(
    api: PrefectApi, pool: GpuPool
) -> None:
    job = submitted(pool, HEAVY[0])
    (run,) = scheduled(api)
    assert run["state_name"] == "Queued"  # the server calls Late only what is called Scheduled
    assert {"tiny", "attempt:1"} <= set(run["tags"])
    report = job.report()
    assert report.phase is Phase.WAITING
    assert report.text.startswith("in the queue of work pool no-worker-")
    assert report.text.endswith(", which has no worker")


def test_a_place_in_the_graph_for_a_run_that_another_flow_run_created_in_the_end_is_taken_back(
    api: PrefectApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three pipelines kept a task run that was Pending for ever, after the server was busy for a moment."""

    def busy(*_arguments: object, **_more: object) -> None:
        request = httpx.Request("POST", api.url)
        raise httpx.HTTPStatusError("busy", request=request, response=httpx.Response(503, request=request))

    another = copy_context()  # in which nothing belongs to the flow run below

    @task(persist_result=False)
    def want() -> None:
        with open_gpu_pool() as ours:
            with monkeypatch.context() as server:
                server.setattr(SyncPrefectClient, "create_flow_run_from_deployment", busy)
                with pytest.raises(SchedulerAway):
                    ours.submit(commission(HEAVY[0]))
            assert [name for name in places() if name.startswith("run 1 of")]
            another.run(name_of_submitted, HEAVY[0])
            assert ours.find(commission(HEAVY[0])) is not None
            assert not [name for name in places() if name.startswith("run 1 of")]

    def places() -> dict[str, str]:
        return api.task_runs(str(runtime.flow_run.id))

    @flow(persist_result=False)
    def pipeline() -> None:
        want()

    pipeline()


def test_a_run_for_another_store_is_not_ours(pool: GpuPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted(pool, HEAVY[0])
    monkeypatch.setenv("MINISERIES_STORE", str(tmp_path / "another"))
    assert pool.find(commission(HEAVY[0])) is None


def test_what_a_run_withdraws_is_told_from_what_a_person_cancels(api: PrefectApi, pool: GpuPool) -> None:
    withdrawn = submitted(pool, HEAVY[0])
    assert withdrawn.report().phase is Phase.WAITING
    assert withdrawn.withdraw()
    assert withdrawn.report().phase is Phase.WITHDRAWN
    assert pool.find(commission(HEAVY[0])) is None

    cancelled = submitted(pool, HEAVY[0])
    assert cancelled.name.startswith("run 2 of")
    api.cancel(scheduled(api)[0]["id"])
    report = cancelled.report()
    assert report.phase is Phase.CANCELLED
    assert "was cancelled (http" in report.text

    slow = submitted(pool, HEAVY[0])
    run = scheduled(api)[0]["id"]
    for type_ in ("RUNNING", "CANCELLING", "CRASHED"):  # a worker calls it so, which had to kill what was slow to end
        api.set_state(run, type_, type_.capitalize())
    assert slow.report().phase is Phase.CANCELLED


@pytest.mark.parametrize(
    ("type_", "name", "phase"),
    [
        ("RUNNING", "Running", Phase.RUNNING),
        ("COMPLETED", "Cached", Phase.ENDED),
        ("COMPLETED", "Held", Phase.HELD),
        ("CRASHED", "Crashed", Phase.INTERRUPTED),
        ("FAILED", "Interrupted", Phase.INTERRUPTED),
        ("FAILED", "Failed", Phase.FAILED),
    ],
)
def test_the_states_of_a_run_mean(type_: str, name: str, phase: Phase, api: PrefectApi, pool: GpuPool) -> None:
    job = submitted(pool, HEAVY[0])
    api.set_state(scheduled(api)[0]["id"], type_, name, "because of\nsomething")
    report = job.report()
    assert report.phase is phase
    assert (pool.find(commission(HEAVY[0])) is not None) == (phase is Phase.RUNNING)
    assert phase is Phase.RUNNING or report.text == "because of something"


def test_a_run_that_somebody_deleted_was_interrupted(api: PrefectApi, pool: GpuPool) -> None:
    job = submitted(pool, HEAVY[0])
    api.send("DELETE", f"flow_runs/{scheduled(api)[0]['id']}")
    assert job.report().phase is Phase.INTERRUPTED


def test_a_deployment_that_is_missing_and_a_server_that_is_away_are_one_line_each(
    api: PrefectApi, pool: GpuPool
) -> None:
    pool.check()
    api.send("DELETE", f"deployments/{api.send('GET', 'deployments/name/gpu-job/h100')['id']}")
    with pytest.raises(SettingsError, match=r"has no deployment gpu-job/h100.*deploy --all"):
        pool.check()
    with pytest.raises(SettingsError, match="has no deployment"):
        pool.submit(commission(HEAVY[0]))
    away = f"http://127.0.0.1:{free_port()}/api"
    with temporary_settings({PREFECT_API_URL: away}), open_gpu_pool() as gone:
        with pytest.raises(SchedulerAway, match=f"{away} gives no answer"):
            gone.find(commission(HEAVY[0]))
        with pytest.raises(SettingsError, match="gives no answer"):
            gone.check()


def test_a_run_ends_by_itself_once_the_server_says_that_it_is_over(
    api: PrefectApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.supervision.ASK_SECONDS", 0.0)
    run = api.start("gpu-job/h100")
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", run["id"])
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", run["deployment_id"])
    api.set_state(run["id"], "RUNNING", "Running")
    look = supervision()
    look()
    api.set_state(run["id"], "CRASHED", "Crashed")
    look()  # so a server says that heard no heartbeat in time
    api.set_state(run["id"], "CANCELLING", "Cancelling")
    look()  # who supervises it passes that on
    api.set_state(run["id"], "CANCELLED", "Cancelled")
    with pytest.raises(RunIsOver, match="Cancelled"):
        look()


def test_a_run_that_was_being_cancelled_when_it_was_started_again_is_cancelled(
    api: PrefectApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = api.start("gpu-job/h100")
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", run["id"])
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", run["deployment_id"])
    for type_ in ("RUNNING", "CANCELLING", "SCHEDULED", "RUNNING"):
        api.set_state(run["id"], type_, type_.capitalize())
    with pytest.raises(RunIsOver, match="it was cancelled before it was started again"):
        supervision()
    assert api.run(run["id"])["state_type"] == "CANCELLED"


def test_without_a_server_it_is_said_how_to_get_one() -> None:
    with (
        temporary_settings({PREFECT_API_URL: None}),
        pytest.raises(SettingsError, match="miniseries up"),
        open_gpu_pool(),
    ):
        pass
