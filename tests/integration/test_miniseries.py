"""Many tags in one run: shared stages once, forks beside their trunk, stopped and resumed together, failures apart."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from running import ROOT, Miniseries, end_family, wait_until
from webhook import ReceivingWebhook, receiving_webhook

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("finished")]
TOGETHER = {"MINISERIES_GPU_JOBS": "2", "MINISERIES_CHECKPOINT_SECONDS": "0.2"}


def ask(api: str, path: str, query: dict[str, Any]) -> Any:
    """POST to the Prefect API."""
    request = urllib.request.Request(
        f"{api}/{path}", data=json.dumps(query).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def newest_run(api: str) -> dict[str, Any]:
    """The flow run of the flow `miniseries` that was started last."""
    query = {"flows": {"name": {"any_": ["miniseries"]}}, "sort": "EXPECTED_START_TIME_DESC", "limit": 1}
    (run,) = ask(api, "flow_runs/filter", query)
    return run


def task_runs(api: str, run: dict[str, Any], ended: int) -> list[dict[str, Any]]:
    """The task runs of a flow run, once `ended` of them have arrived in a final state."""
    final = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")

    def arrived() -> list[dict[str, Any]]:
        found = ask(api, "task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
        return found if sum(each["state_type"] in final for each in found) >= ended else []

    return wait_until(arrived)


@pytest.fixture
def webhook() -> Iterator[ReceivingWebhook]:
    with receiving_webhook() as there:
        yield there


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> tuple[Miniseries, dict[str, Any]]:
    """A store in which two tags that share a trunk segment were made by one run, and what that run printed."""
    home = tmp_path_factory.mktemp("together")
    store = Miniseries(home, str(home / "store"), {"PREFECT_API_URL": prefect_server})
    return store, store.json("run", "micro", "micro_drope_25", "--json", **TOGETHER)


def test_shared_stages_are_made_once_and_the_fork_runs_while_the_trunk_goes_on(
    together: tuple[Miniseries, dict[str, Any]], prefect_server: str
) -> None:
    store, printed = together
    assert printed["tags"] == ["micro", "micro_drope_25"]
    assert (printed["failed"], printed["blocked"]) == ({}, {})
    assert {reference["state"] for reference in printed["stages"].values()} == {"made"}
    assert len(store.manifests("publish")) == 2
    *_, last = trunk = store.manifests("pretrain")
    (fork,) = store.manifests("recalibrate")
    assert len(trunk) == 4
    assert fork["inputs"]["previous"] == trunk[0]["key"]
    assert fork["provenance"]["started"] < last["provenance"]["started"]

    run = newest_run(prefect_server)
    assert (run["state_type"], run["name"]) == ("COMPLETED", "micro and 1 more")
    runs = task_runs(prefect_server, run, len(printed["stages"]))
    assert Counter(each["state_type"] for each in runs) == {"COMPLETED": len(printed["stages"])}
    assert set(Counter(each["name"] for each in runs).values()) == {1}
    shown = ask(prefect_server, "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    statuses = [each["data"] for each in shown if each["key"] == "miniseries-status"]
    (last_shown,) = [status for status in statuses if status.startswith("complete: micro, micro_drope_25")]
    assert "Every stage is there." in last_shown


def test_a_failed_stage_blocks_what_needs_it_and_the_other_tag_is_finished(
    together: tuple[Miniseries, dict[str, Any]], tmp_path: Path, prefect_server: str, webhook: ReceivingWebhook
) -> None:
    store = together[0].on_copy(tmp_path)
    (fork,) = store.manifests("recalibrate")
    folder = Path(store.store) / "recalibrate" / f"{fork['name']}-{fork['key'][:12]}"
    (folder / "files" / fork["attempt"] / "loss.jsonl").unlink()
    for kind in ("export_hf", "publish"):
        shutil.rmtree(Path(store.store) / kind)

    done = store.run("run", "micro", "micro_drope_25", "--json", MINISERIES_WEBHOOK=webhook.url)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "so 1 of 2 tags are not complete; complete: micro; failed: recalibrate" in done.stderr.splitlines()[-1]
    printed = json.loads(done.stdout)
    assert set(printed["failed"]) == {fork["key"]}
    assert "loss.jsonl" in printed["failed"][fork["key"]]
    assert set(printed["blocked"].values()) == {fork["key"]}
    assert [manifest["name"] for manifest in store.manifests("publish")] == ["micro"]
    assert {manifest["name"] for manifest in store.manifests("export_hf")} == {
        "micro-base",
        "micro-sft",
        "micro_drope_25-sft",  # needs the fine-tune, which is there
    }
    (told,) = webhook.received
    assert (told["event"], told["flow"], told["run"]) == ("failed", "miniseries", "micro and 1 more")
    assert told["message"] in done.stderr
    run = newest_run(prefect_server)
    assert run["state_type"] == "FAILED"
    runs = task_runs(prefect_server, run, len(printed["stages"]) + 1)
    assert [each["name"].startswith("recalibrate") for each in runs if each["state_type"] == "FAILED"] == [True]

    again = store.json("run", "micro", "micro_drope_25", "--json")
    assert again["failed"] == {}
    assert again["stages"][fork["key"]]["state"] == "made"


def checkpoints(store: Miniseries, kind: str) -> set[str]:
    return {path.parent.name for path in store.checkpoint(kind)()}


def continued(store: Miniseries, kind: str) -> list[Path]:
    """Logs of attempts that went on from a checkpoint."""
    logs = Path(store.home).glob(f"state/**/{kind}/*.log")
    return [log for log in logs if "continuing at step" in log.read_text()]


def test_sigterm_checkpoints_trunk_and_fork_and_the_next_run_resumes_both(
    tmp_path: Path, prefect_server: str, webhook: ReceivingWebhook
) -> None:
    store = Miniseries(tmp_path, str(tmp_path / "store"), {"PREFECT_API_URL": prefect_server, **TOGETHER})
    store.json("make", "endless_drope_25", "pretrain")

    def interrupt(process: subprocess.Popen[str]) -> str:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
        assert process.returncode == 128 + signal.SIGTERM
        assert errors.splitlines()[-1].startswith("miniseries: stopped by SIGTERM")
        return errors

    process = store.start("run", "endless", "endless_drope_25", MINISERIES_WEBHOOK=webhook.url)
    before = wait_until(
        lambda: (
            [max(found) for kind in ("pretrain", "recalibrate") if (found := checkpoints(store, kind))]
            if checkpoints(store, "pretrain") and checkpoints(store, "recalibrate")
            else None
        )
    )
    assert "Traceback" not in interrupt(process)
    assert [(told["event"], told["tags"]) for told in webhook.received] == [
        ("cancelled", ["endless", "endless_drope_25"])
    ]
    after = [max(checkpoints(store, kind)) for kind in ("pretrain", "recalibrate")]
    assert all(new > old for new, old in zip(after, before, strict=True))
    run = newest_run(prefect_server)
    runs = task_runs(prefect_server, run, 6)
    stopped = [each["name"].split()[0] for each in runs if each["state_type"] == "CANCELLED"]
    assert sorted(stopped) == ["pretrain", "recalibrate"]
    assert "RUNNING" not in {each["state_type"] for each in runs}
    shown = ask(prefect_server, "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    bars = [each for each in shown if each["type"] == "progress" and "stopped after" in each["description"]]
    assert len(bars) == 2
    assert all(0 < bar["data"] < 100 for bar in bars)

    process = store.start("run", "endless", "endless_drope_25")
    wait_until(lambda: continued(store, "pretrain") and continued(store, "recalibrate"))
    interrupt(process)


def test_cancelling_a_deployed_run_checkpoints_every_running_stage(
    tmp_path: Path, prefect_server: str, webhook: ReceivingWebhook
) -> None:
    """A worker sends SIGTERM to the flow's process alone: its main thread must tell the threads of all stages."""
    store = Miniseries(tmp_path, str(tmp_path / "store"), {"PREFECT_API_URL": prefect_server, **TOGETHER})
    store.json("make", "endless_drope_25", "pretrain")
    environment = {
        **store.environment_for({}),
        "MINISERIES_WEBHOOK": webhook.url,
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'support'}",
    }

    def prefect(*arguments: str) -> None:
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    prefect("work-pool", "create", "together", "--type", "process")
    tags = json.dumps(["endless", "endless_drope_25"])
    entrypoint = "tests/support/micro_flow.py:miniseries"
    prefect("deploy", entrypoint, "--name", "together", "--pool", "together", "--param", f"tags={tags}")
    worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "together"]
    with subprocess.Popen(worker, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            prefect("deployment", "run", "miniseries/together")
            wait_until(lambda: checkpoints(store, "pretrain") and checkpoints(store, "recalibrate"))
            before = [max(checkpoints(store, kind)) for kind in ("pretrain", "recalibrate")]
            run = newest_run(prefect_server)
            prefect("flow-run", "cancel", run["id"])
            ended = ("CANCELLED", "COMPLETED", "FAILED", "CRASHED")
            run = wait_until(lambda: (last := newest_run(prefect_server))["state_type"] in ended and last)
        finally:
            end_family(psutil.Process(process.pid))
    assert run["state_type"] == "CANCELLED"
    (told,) = webhook.received
    assert (told["event"], told["run"]) == ("cancelled", "endless and 1 more")
    assert run["id"] in told["url"]
    after = [max(checkpoints(store, kind)) for kind in ("pretrain", "recalibrate")]
    assert all(new > old for new, old in zip(after, before, strict=True))
    leases = [json.loads(path.read_text()) for path in Path(store.store).glob("*/*/lease.json")]
    assert all(lease["released"] for lease in leases)
    runs = task_runs(prefect_server, run, 6)
    stopped = [each["name"].split()[0] for each in runs if each["state_type"] == "CANCELLED"]
    assert sorted(stopped) == ["pretrain", "recalibrate"]
