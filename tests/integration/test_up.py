"""`miniseries up` and `down` with everything real: server, workers, the plain `prefect` command, PostgreSQL."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from local_installation import LocalInstallation, ask
from prefect_api import PrefectApi
from running import ROOT, wait_until
from s3_server import free_port

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("up")]
PROFILES = '# mine\nactive = "quiet"\n\n[profiles.quiet]\nPREFECT_LOGGING_LEVEL = "ERROR"\n'
SECRET = "sesame-open"


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalInstallation]:
    """Up, in a home whose user has a Prefect profile of their own; down at the end."""
    here = LocalInstallation(tmp_path_factory.mktemp("up"))
    here.profiles.parent.mkdir()
    here.profiles.write_text(PROFILES)
    try:
        here.miniseries("up", "--port", str(free_port()))
        yield here
    finally:
        here.end()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[LocalInstallation]:
    """An empty home in which nothing is up."""
    here = LocalInstallation(tmp_path)
    yield here
    here.end()


def record(installation: LocalInstallation) -> dict[str, Any]:
    return dict(json.loads((installation.folder / "up.json").read_text()))


def run_state(api: str, run: str) -> str:
    return str(ask(api, f"flow_runs/{run}")["state"]["name"])


def open_task_runs(api: str, run: str) -> dict[str, int]:
    """Those that are shown as neither ended nor cancelled, by name: the attempt at the flow run that they belong to."""
    states = {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}}
    query = {"flow_runs": {"id": {"any_": [run]}}, "task_runs": {"state": states}}
    return {found["name"]: found["flow_run_run_count"] for found in ask(api, "task_runs/filter", query)}


def is_retried(installation: LocalInstallation, run: str) -> bool:
    """Retry a run as often as it is Cancelled, as it may be once more by the second of Prefect's two supervisors."""
    state = run_state(record(installation)["api_url"], run)
    if state == "Cancelled":
        installation.prefect("flow-run", "retry", run)
    return state == "Running"


def created_run(output: str) -> str:
    """The id that `prefect deployment run` prints."""
    found = re.search(r"UUID: (\S+)", output)
    assert found, output
    return found[1]


def test_pools_deployments_automations_and_workers_are_there(installation: LocalInstallation) -> None:
    api = record(installation)["api_url"]
    pools = {pool["name"]: pool for pool in ask(api, "work_pools/filter", {})}
    assert {name: pool["type"] for name, pool in pools.items()} == {"cpu": "process", "h100": "process"}
    assert pools["h100"]["concurrency_limit"] == 1
    deployed = {deployment["name"]: deployment for deployment in ask(api, "deployments/filter", {"limit": 200})}
    wanted = {entry["name"]: entry for entry in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}
    assert deployed.keys() == wanted.keys()
    for name, entry in wanted.items():
        there = deployed[name]
        for key in ("entrypoint", "description", "tags", "parameters"):
            assert there[key] == entry[key]
        assert there["work_pool_name"] == entry["work_pool"]["name"]
        assert there["job_variables"] == entry["work_pool"].get("job_variables", {})
        crons = [schedule["cron"] for schedule in entry.get("schedules", [])]
        assert [schedule["schedule"]["cron"] for schedule in there["schedules"]] == crons
        assert there["enforce_parameter_schema"]
        assert there["parameter_openapi_schema"]["properties"].keys() >= there["parameters"].keys()
    assert len(ask(api, "automations/filter", {})) == 2
    for pool in pools:
        (worker,) = ask(api, f"work_pools/{pool}/workers/filter", {})
        assert worker["status"] == "ONLINE"


def test_the_plain_prefect_command_runs_a_deployment_to_its_end(installation: LocalInstallation) -> None:
    api = record(installation)["api_url"]
    output = installation.prefect("deployment", "run", "republish/weekly", "--watch")
    assert run_state(api, created_run(output)) == "Completed"


def test_up_again_starts_nothing_and_deploys_what_changed_but_for_what_a_person_switched_off(
    installation: LocalInstallation,
) -> None:
    before = record(installation)
    api = before["api_url"]
    weekly, tiny = ask(api, "deployments/name/republish/weekly"), ask(api, "deployments/name/pipeline/tiny")
    (schedule,) = weekly["schedules"]
    PrefectApi(api).send("PATCH", f"deployments/{weekly['id']}/schedules/{schedule['id']}", {"active": False})
    PrefectApi(api).send("DELETE", f"deployments/{tiny['id']}")
    again = installation.miniseries("up")
    assert again["started"] == []
    assert record(installation) == before
    assert ask(api, "deployments/name/pipeline/tiny")["parameters"] == {"tag": "tiny"}
    (schedule,) = ask(api, "deployments/name/republish/weekly")["schedules"]
    assert not schedule["active"]


def test_a_gpu_slot_is_a_worker_that_takes_one_run_and_a_worker_that_died_is_started_again(
    installation: LocalInstallation,
) -> None:
    before = record(installation)
    more = installation.miniseries("up", "--gpu-slots", "2")
    slots = {worker["name"] for worker in more["workers"] if worker["pool"] == "h100"}
    assert len(slots) == 2
    assert set(more["started"]) == slots  # the GPUs are shared out anew; pipelines are not touched
    assert {pool["name"]: pool["slots"] for pool in more["pools"]}["h100"] == 2

    (cpu,) = set(record(installation)["workers"]) - slots
    psutil.Process(before["workers"][cpu]["pid"]).kill()
    fewer = installation.miniseries("up")
    assert cpu in fewer["started"]
    assert sum(worker["pool"] == "h100" for worker in fewer["workers"]) == 1
    after = record(installation)
    assert after["workers"][cpu] != before["workers"][cpu]
    assert after["server"] == before["server"]
    assert len(installation.processes()) == 3  # the server and two workers


def test_a_server_that_is_named_is_used_and_goes_on_after_down(
    installation: LocalInstallation, elsewhere: LocalInstallation
) -> None:
    api = record(installation)["api_url"]
    guest = replace(elsewhere, variables={"PREFECT_API_URL": api})
    up = guest.miniseries("up", "--pool", "cpu")
    assert (up["api"], up["server"], up["profile"]) == (api, None, None)
    assert len(guest.processes()) == len(up["workers"]) == 1
    down = guest.miniseries("down")
    assert down["servers"] == 0
    assert len(down["workers"]) == 1
    assert guest.processes() == []
    assert ask(api, "health") is True


def test_in_the_foreground_it_stays_until_it_is_stopped_and_leaves_nothing(
    installation: LocalInstallation, elsewhere: LocalInstallation
) -> None:
    guest = replace(elsewhere, variables={"PREFECT_API_URL": record(installation)["api_url"]})
    up = guest.start("miniseries", "up", "--foreground", "--pool", "h100")
    assert up.stdout is not None
    assert any(line.startswith("pools:") for line in iter(up.stdout.readline, ""))
    (worker,) = guest.processes()
    assert "h100" in worker.cmdline()
    up.send_signal(signal.SIGTERM)
    _, errors = up.communicate()
    assert up.returncode == 0, errors
    assert guest.processes() == []
    assert not (guest.folder / "up.json").exists()


def test_the_job_template_for_kubernetes_is_accepted(installation: LocalInstallation) -> None:
    template = "deploy/kubernetes-base-job-template.json"
    installation.prefect("work-pool", "create", "cluster", "--type", "kubernetes", "--base-job-template", template)
    pool = ask(record(installation)["api_url"], "work_pools/cluster")
    assert pool["base_job_template"] == json.loads((ROOT / template).read_text())


def test_a_run_goes_on_after_cancel_and_retry_after_down_and_up_and_after_the_machine_lost_its_power(
    installation: LocalInstallation,
) -> None:
    api = record(installation)["api_url"]
    run = created_run(installation.prefect("deployment", "run", "pipeline/tiny"))
    wait_until(lambda: open_task_runs(api, run))
    installation.prefect("flow-run", "cancel", run)
    wait_until(lambda: run_state(api, run) == "Cancelled")
    assert open_task_runs(api, run) == {}
    wait_until(lambda: is_retried(installation, run))

    refused = installation.run("miniseries", "down")
    assert refused.returncode == 1
    assert "tiny is under way" in refused.stderr
    assert run_state(api, run) == "Running"

    down = installation.miniseries("down", "--yes")
    assert down["flow_runs"] == [run]
    assert installation.processes() == []
    assert installation.profiles.read_text() == PROFILES
    assert not (installation.folder / "up.json").exists()

    installation.miniseries("up", "--port", str(free_port()))
    api = record(installation)["api_url"]
    wait_until(lambda: set(open_task_runs(api, run).values()) == {3})

    installation.end()  # as the machine's power does
    wait_until(lambda: not installation.processes())
    installation.miniseries("up")
    wait_until(lambda: set(open_task_runs(api, run).values()) == {4})  # those that the power cut short have ended
    assert installation.miniseries("down", "--yes")["flow_runs"] == [run]
    assert installation.processes() == []


def test_interrupted_up_leaves_nothing(elsewhere: LocalInstallation) -> None:
    up = elsewhere.start("miniseries", "up", "--port", str(free_port()))
    wait_until(elsewhere.processes)
    up.send_signal(signal.SIGINT)
    _, errors = up.communicate()
    assert up.returncode == 130, errors
    assert elsewhere.processes() == []
    assert not (elsewhere.folder / "up.json").exists()
    assert not elsewhere.profiles.exists()


def test_down_without_up_says_so_and_is_no_error(elsewhere: LocalInstallation) -> None:
    done = elsewhere.run("miniseries", "down")
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing is up" in done.stdout


@pytest.fixture
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL of our own, which accepts any password; yields host:port/database."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb") or (str(programs[-1]) if programs else None)
    if found is None:
        pytest.skip("PostgreSQL is not installed here")
    bin_folder, port = Path(found).resolve().parent, free_port()
    # it refuses to be root, and another user cannot enter pytest's folders
    folder = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres", "postgres")

    def postgres(program: str, *arguments: str) -> None:
        subprocess.run([*as_user, str(bin_folder / program), *arguments], cwd="/", check=True, capture_output=True)

    data = str(folder / "data")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    postgres("initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
    postgres("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        postgres("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "prefect")
        yield f"127.0.0.1:{port}/prefect"
    finally:
        postgres("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)


def test_postgresql_is_the_database_and_its_password_is_nowhere(elsewhere: LocalInstallation, postgresql: str) -> None:
    url = f"postgresql+asyncpg://postgres:{SECRET}@{postgresql}"
    here = replace(elsewhere, variables={"PREFECT_API_DATABASE_CONNECTION_URL": url})
    up = here.run("miniseries", "up", "--port", str(free_port()))
    assert up.returncode == 0, up.stderr
    assert f"***@{postgresql}" in up.stdout
    written = [path.read_text(errors="replace") for path in here.folder.rglob("*") if path.suffix in (".json", ".log")]
    assert not any(SECRET in text for text in (up.stdout, up.stderr, *written))
    workers = [psutil.Process(process["pid"]) for process in record(here)["workers"].values()]
    assert not any(SECRET in value for worker in workers for value in worker.environ().values())
    assert not (here.folder / "prefect" / "prefect.db").exists()
    assert here.miniseries("down")["servers"] == 1
    assert here.processes() == []
