"""Task runs whose process is gone, on a real server: each gets the end that befell it, and no other."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Cancelling, Crashed
from prefect_api import PrefectApi
from s3_server import free_port

from flows import task_run_endings
from flows.task_run_endings import end_as_cancelled, end_as_crashed, end_task_runs
from tasks.dispatch.gpu_pool import DEPLOYMENT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("dispatch")]


@flow
def any_flow() -> None:
    """Nothing."""


@pytest.fixture
def api(prefect_server: str) -> Iterator[PrefectApi]:
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        yield PrefectApi(prefect_server)


def left_behind(api: PrefectApi, **task_runs: str) -> str:
    """A flow run whose process has told these states of its task runs, by name."""
    of = api.send("POST", "flows/", {"name": "left-behind"})
    run = api.send("POST", "flow_runs/", {"flow_id": of["id"], "state": {"type": "RUNNING"}})["id"]
    for name, state in task_runs.items():
        key = DEPLOYMENT if name == "gpu_job" else name
        body = {"flow_run_id": run, "task_key": key, "dynamic_key": str(uuid4()), "name": name}
        api.send("POST", "task_runs/", {**body, "state": {"type": state}})
    return str(run)


def flow_run(run: str) -> Any:
    with get_client(sync_client=True) as client:
        return client.read_flow_run(UUID(run))


def test_hooks_end_what_is_open_and_leave_what_ended_and_what_stands_for_a_gpu_job(
    api: PrefectApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_run_endings, "ARRIVAL_SECONDS", 0.0)  # no process is left that could tell more
    told = {"done": "COMPLETED", "training": "RUNNING", "next": "PENDING", "gpu_job": "RUNNING"}
    run = left_behind(api, **told)
    end_as_cancelled(any_flow, flow_run(run), Cancelling())
    assert api.task_runs(run) == {**told, "training": "CANCELLED", "next": "CANCELLED"}

    run = left_behind(api, **told)
    end_as_crashed(any_flow, flow_run(run), Crashed())
    assert api.task_runs(run) == {**told, "training": "CRASHED", "next": "CRASHED"}


def test_what_the_process_told_in_its_last_moment_is_kept(api: PrefectApi) -> None:
    run = left_behind(api, training="RUNNING")
    (task_run,) = api.send("POST", "task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})

    def end() -> None:
        with get_client(sync_client=True) as client:
            end_task_runs(client, UUID(run), 1, Cancelled(), patience_seconds=60.0)

    with ThreadPoolExecutor(1) as threads:
        ending = threads.submit(copy_context().run, end)
        state = {"type": "COMPLETED", "name": "Completed"}
        api.send("POST", f"task_runs/{task_run['id']}/set_state", {"state": state, "force": True})
        ending.result()
    assert api.task_runs(run) == {"training": "COMPLETED"}


def test_a_server_that_is_away_is_a_warning(api: PrefectApi, caplog: pytest.LogCaptureFixture) -> None:
    run = flow_run(left_behind(api, training="RUNNING"))
    away = f"http://127.0.0.1:{free_port()}/api"
    with temporary_settings({PREFECT_API_URL: away}), caplog.at_level(logging.WARNING):
        end_as_crashed(any_flow, run, Crashed())
    assert "could not be told theirs" in caplog.text
