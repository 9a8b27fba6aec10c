"""A model through every stage, by the command line and by a deployment, with a real Prefect server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from running import ROOT, Miniseries, end_family, wait_until

from core.stages.kind import StageKind

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("finished")]
TAG = "micro_drope_50_long"


def ask(api: str, path: str, query: dict[str, Any]) -> Any:
    """POST to the Prefect API."""
    request = urllib.request.Request(
        f"{api}/{path}", data=json.dumps(query).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def task_states(api: str, flow_run_id: str) -> list[tuple[str, str]]:
    """Name and state of every task run of a flow run."""
    query = {"flow_runs": {"id": {"any_": [flow_run_id]}}, "sort": "EXPECTED_START_TIME_ASC"}
    return [(run["name"], run["state_name"]) for run in ask(api, "task_runs/filter", query)]


def last_flow_run(api: str, *, deployed: bool) -> dict[str, Any]:
    """The newest run of a deployment, or of the command line."""
    query = {
        "flow_runs": {"deployment_id": {"is_null_": not deployed}},
        "sort": "EXPECTED_START_TIME_DESC",
        "limit": 1,
    }
    (run,) = ask(api, "flow_runs/filter", query)
    return run


def test_every_stage_kind_is_made_and_status_says_where(finished: Miniseries) -> None:
    (status,) = finished.json("status", TAG, "--json")
    of_no_tag = {StageKind.ADOPTED, StageKind.STUDY}
    not_asked_for = {StageKind.LONG_CONTEXT, StageKind.CORE_BUNDLE, StageKind.CORE_METRIC}  # by micro recipes
    expected = {kind.value for kind in set(StageKind) - of_no_tag - not_asked_for}
    assert {stage["kind"] for stage in status["stages"]} == expected
    for stage in status["stages"]:
        assert stage["state"] == "cached"
        assert list(Path(stage["path"]).iterdir()), stage


def test_the_run_ends_with_a_table_the_export_the_losses_and_a_sample(finished: Miniseries) -> None:
    output = (finished.home / "output").read_text()
    assert "bits per byte at the drop" in output
    assert "recalibrated" in output
    assert "the base model continues" in output
    assert "/export_hf/micro_drope_50-long-sft-" in output
    (repositories,) = (Path(finished.store) / "hub").iterdir()
    assert sorted(folder.name for folder in repositories.glob("nanochat-*")) == [
        f"nanochat-{TAG}-{suffix}" for suffix in ("base", "hf-base", "hf-sft", "sft")
    ]


def test_running_again_makes_nothing_and_shows_every_stage_as_cached(finished: Miniseries, prefect_server: str) -> None:
    result = finished.json("run", TAG, "--json")
    assert Counter(stage["state"] for stage in result["stages"].values()) == {"cached": len(result["stages"])}
    run = last_flow_run(prefect_server, deployed=False)
    assert run["state_type"] == "COMPLETED"
    stages = len(result["stages"])
    states = wait_until(lambda: (found := task_states(prefect_server, run["id"])) and len(found) == stages and found)
    assert {state for _, state in states} == {"Cached"}
    assert any(name.startswith("recalibrate without RoPE micro_drope_50 steps 8-16 [") for name, _ in states)


def test_without_a_server_and_with_nothing_to_make_none_is_started(finished: Miniseries) -> None:
    result = finished.json("run", TAG, "--json", PREFECT_API_URL="")
    assert Counter(stage["state"] for stage in result["stages"].values()) == {"cached": len(result["stages"])}
    assert not (finished.home / ".prefect" / "prefect.db").exists()


def test_every_artifact_verifies_and_a_manifest_tells_how_it_was_made(finished: Miniseries) -> None:
    assert finished.run("verify").returncode == 0
    (manifest,) = finished.manifests("recalibrate")
    assert manifest["provenance"]["numerics"]["device"] == "cpu"
    assert manifest["identity"]["use_rope"] is False
    assert {"drop_bpb_with_rope", "drop_bpb_without_rope", "validation_bpb"} <= set(manifest["metrics"])


def test_a_deployment_runs_on_a_worker(finished: Miniseries, prefect_server: str, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        **finished.environment_for({}),
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'support'}",
    }

    def prefect(*arguments: str) -> None:
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    prefect("work-pool", "create", "micro", "--type", "process")
    entrypoint = "tests/support/micro_flow.py:pipeline"
    prefect("deploy", entrypoint, "--name", "micro", "--pool", "micro", "--param", f"tag={TAG}")
    worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "micro"]
    with subprocess.Popen(worker, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            prefect("deployment", "run", "pipeline/micro")
            ended = ("COMPLETED", "FAILED", "CRASHED")
            run = wait_until(
                lambda: (last := last_flow_run(prefect_server, deployed=True))["state_type"] in ended and last
            )
        finally:
            end_family(psutil.Process(process.pid))
    assert (run["state_type"], run["name"]) == ("COMPLETED", TAG)
