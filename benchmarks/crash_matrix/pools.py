"""Work pools as `miniseries up` makes them, with the deployments that cases run, and a worker for one of them."""

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

from benchmarks.crash_matrix.program import DELIVERABLE, TAG
from flows.local.automations import install_automations
from flows.local.environment import WORKER
from flows.local.pools import CPU, GPU, PROCESS, ensure_pools, pools

ROOT = Path(__file__).parents[2]
FLOWS = "benchmarks/crash_matrix/flow.py"
PIPELINE = f"pipeline/{TAG.replace('_', '-')}"


def deploy(api: str) -> None:
    """Create pools, deployments and automations on the server at `api`."""
    with client_of(api) as client:
        ensure_pools(client, pools(gpu_slots=1), own_server=True)
        install_automations(client)
        add_deployment(client, "gpu-job/h100", f"{FLOWS}:gpu_job", GPU, {})
        add_deployment(client, PIPELINE, f"{FLOWS}:pipeline", CPU, {"tag": TAG, "until": DELIVERABLE})


def add_deployment(
    client: SyncPrefectClient, name: str, entrypoint: str, pool: str, parameters: Mapping[str, str]
) -> None:
    """`<flow>/<deployment>` on a pool."""
    flow, _, deployment = name.partition("/")
    client.create_deployment(
        flow_id=client.create_flow_from_name(flow),
        name=deployment,
        entrypoint=entrypoint,
        path=str(ROOT),
        pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
        work_pool_name=pool,
        parameters=dict(parameters),
        tags=["miniseries"],
    )


def start_worker(
    api: str, pool: str, environment: Mapping[str, str], home: Path, limit: int | None = 1
) -> subprocess.Popen[bytes]:
    """Start a worker of a pool; what it starts has `environment`. `limit`: runs at once; None: no limit."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--install-policy", "never"]
    command += ["--pool", pool, "--name", home.name, "--type", PROCESS]
    command += ["--limit", str(limit)] if limit else []
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    ours = {"PREFECT_API_URL": api, "HOME": str(home), "PREFECT_HOME": str(home / ".prefect"), "PATH": path}
    home.mkdir(parents=True, exist_ok=True)
    with (home / "worker.log").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**environment, **WORKER, **ours},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def runs_of(api: str, *types: StateType) -> list[UUID]:
    """The flow runs of work pools that are in states of these types; who waits in a terminal is none."""
    wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))))
    with client_of(api) as client:
        return [run.id for run in client.read_flow_runs(flow_run_filter=wanted) if run.work_pool_name]


def person(api: str, verb: str, run: UUID, folder: Path) -> None:
    """What a person does: `prefect flow-run <verb>`."""
    command = [sys.executable, "-m", "prefect", "flow-run", verb, str(run)]
    environment = {**os.environ, "PREFECT_API_URL": api, "PREFECT_HOME": str(folder / "person")}
    subprocess.run(command, env=environment, check=True, capture_output=True)


def client_of(api: str) -> SyncPrefectClient:
    """A client of the server at `api`."""
    with temporary_settings({PREFECT_API_URL: api}):
        return get_client(sync_client=True)
