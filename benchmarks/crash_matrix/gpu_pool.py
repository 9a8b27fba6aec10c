"""A GPU work pool as `miniseries up` makes one, with the deployment `gpu-job/h100` and one worker, for one case."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.local.automations import install_automations
from flows.local.environment import WORKER
from flows.local.pools import GPU, PROCESS, ensure_pools, pools

ROOT = Path(__file__).parents[2]
ENTRYPOINT = "benchmarks/crash_matrix/flow.py:gpu_job"
FLOW, DEPLOYMENT = "gpu-job", "h100"


def deploy(api: str) -> None:
    """Create pool, deployment and automations on the server at `api`."""
    with _client(api) as client:
        ensure_pools(client, pools(gpu_slots=1), own_server=True)
        install_automations(client)
        client.create_deployment(
            flow_id=client.create_flow_from_name(FLOW),
            name=DEPLOYMENT,
            entrypoint=ENTRYPOINT,
            path=str(ROOT),
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
            work_pool_name=GPU,
            tags=["miniseries"],
        )


def start_worker(api: str, environment: Mapping[str, str], folder: Path) -> subprocess.Popen[bytes]:
    """Start the worker of the pool; what it starts has `environment`."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--install-policy", "never"]
    command += ["--pool", GPU, "--name", "gpu-node", "--type", PROCESS, "--limit", "1"]
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    with (folder / "worker.log").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**environment, **WORKER, "PREFECT_API_URL": api, "PREFECT_HOME": str(folder / "node"), "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def running_jobs(api: str) -> list[UUID]:
    """The flow runs of the pool that are under way."""
    running = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])))
    with _client(api) as client:
        return [run.id for run in client.read_flow_runs(flow_run_filter=running) if run.work_pool_name == GPU]


def cancel(api: str, run: UUID, folder: Path) -> None:
    """What a person does: `prefect flow-run cancel`."""
    command = [sys.executable, "-m", "prefect", "flow-run", "cancel", str(run)]
    environment = {**os.environ, "PREFECT_API_URL": api, "PREFECT_HOME": str(folder / "person")}
    subprocess.run(command, env=environment, check=True, capture_output=True)


def _client(api: str) -> SyncPrefectClient:
    with temporary_settings({PREFECT_API_URL: api}):
        return get_client(sync_client=True)
