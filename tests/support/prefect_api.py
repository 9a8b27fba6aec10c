"""What tests ask of a Prefect server, and a process worker that runs what its pool gets."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from prefect.workers.process import ProcessWorker
from running import ROOT, end_family, wait_until

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True)
class PrefectApi:
    """A server, by the URL of its API."""

    url: str

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """One request; its answer."""
        request = urllib.request.Request(
            f"{self.url}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        content = wait_until(lambda: _answer(request))[0]
        return json.loads(content) if content else None

    def gpu_jobs(self, store_url: str, key: str) -> list[dict[str, Any]]:
        """The runs of `gpu-job/h100` that were created for a stage of a store, by attempt."""
        runs = self.send("POST", "flow_runs/filter", {"flow_runs": {"tags": {"all_": [f"stage:{key[:12]}"]}}})
        store = hashlib.sha256(store_url.encode()).hexdigest()[:8]
        ours = [run for run in runs if run["idempotency_key"].startswith(f"{key}:{store}:")]
        return sorted(ours, key=lambda run: int(run["idempotency_key"].rpartition(":")[2]))

    def run(self, flow_run_id: str) -> dict[str, Any]:
        """A flow run as it is now."""
        return self.send("GET", f"flow_runs/{flow_run_id}")

    def start(self, deployment: str, **parameters: str) -> dict[str, Any]:
        """A new run of a deployment."""
        found = self.send("GET", f"deployments/name/{deployment}")
        body = {"state": {"type": "SCHEDULED"}, "parameters": parameters}
        return self.send("POST", f"deployments/{found['id']}/create_flow_run", body)

    def cancel(self, flow_run_id: str) -> None:
        """What the button in the UI does."""
        self.send("POST", f"flow_runs/{flow_run_id}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})

    def set_state(self, flow_run_id: str, type_: str, name: str, message: str = "") -> None:
        """Whatever the rules say."""
        state = {"type": type_, "name": name, "message": message}
        self.send("POST", f"flow_runs/{flow_run_id}/set_state", {"state": state, "force": True})

    def wait_for(self, flow_run_id: str, *types: str) -> dict[str, Any]:
        """The run once its state is one of `types`."""

        def there() -> dict[str, Any] | None:
            run = self.run(flow_run_id)
            assert run["state_type"] in types or run["state_type"] not in FINAL, run["state"]
            return run if run["state_type"] in types else None

        return wait_until(there)

    def task_runs(self, flow_run_id: str) -> dict[str, str]:
        """The state of each task run of a flow run by its name."""
        query = {"flow_runs": {"id": {"any_": [flow_run_id]}}, "limit": 200}
        return {run["name"]: run["state_type"] for run in self.send("POST", "task_runs/filter", query)}

    def pause_pool(self, name: str, *, is_paused: bool) -> None:
        """While it is, no worker is given a run of it."""
        self.send("PATCH", f"work_pools/{name}", {"is_paused": is_paused})

    def set_environment(self, deployment: str, environment: Mapping[str, str]) -> None:
        """Give the runs of a deployment these variables from now on."""
        found = self.send("GET", f"deployments/name/{deployment}")
        self.send("PATCH", f"deployments/{found['id']}", {"job_variables": {"env": dict(environment)}})

    def environment(self, home: Path) -> dict[str, str]:
        """For programs of Prefect that use this server and nothing of this user's."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MINISERIES_")}
        return {
            **inherited,
            "HOME": str(home),
            "PREFECT_HOME": str(home / ".prefect"),
            "PREFECT_API_URL": self.url,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "DO_NOT_TRACK": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'support'}",
        }

    def create_pool(self, name: str) -> None:
        """A work pool of processes, each started by its worker alone: Prefect's way around costs seconds of imports."""
        template = ProcessWorker.get_default_base_job_template()
        template["variables"]["properties"]["command"]["default"] = f"{sys.executable} -m prefect.engine"
        self.send("POST", "work_pools/", {"name": name, "type": "process", "base_job_template": template})

    def deploy(self, home: Path, *deployments: Mapping[str, Any]) -> None:
        """`prefect deploy` of entries of a prefect.yaml."""
        file = home / "prefect.yaml"
        file.write_text(yaml.safe_dump({"deployments": [dict(entry) for entry in deployments]}))
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
        done = subprocess.run(command, cwd=ROOT, env=self.environment(home), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    @contextmanager
    def worker(self, home: Path, pool: str, environment: Mapping[str, str], limit: int = 1) -> Iterator[None]:
        """A worker of `pool` that runs so many flows at a time; with it end the flows that it runs then."""
        home.mkdir()
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--limit", str(limit)]
        with (home / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env={**self.environment(home), **environment}, stdout=log, stderr=log
            )
            try:
                yield
            finally:
                end_family(psutil.Process(process.pid))
                process.wait()


def _answer(request: urllib.request.Request) -> list[bytes]:
    """Its content; nothing when the server is too busy to answer, which SQLite under load is."""
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return [answer.read()]
    except urllib.error.HTTPError as error:
        if error.code == 503:
            return []
        raise
