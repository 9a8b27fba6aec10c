"""Heavy stages as jobs of a real Slurm on this machine: submitted once, requeued at their limit, cancelled, followed.

Skipped where Slurm is not installed (`apt-get install slurm-wlm munge`).
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from running import PROGRAM, Miniseries, wait_until
from segment_hashes import segment_hashes
from slurm_cluster import SlurmCluster, lacking, running_slurm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(lacking()), reason=f"Slurm is not installed: no {', '.join(lacking())}"),
]
ENDLESS = ("hand", "endless_drope_25", "pretrain")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    with running_slurm(tmp_path_factory.mktemp("slurm") / "cluster") as running:
        yield running


@pytest.fixture
def submitter(prepared: Miniseries, cluster: SlurmCluster, tmp_path: Path) -> Iterator[Miniseries]:
    """The command line with a store of its own, whose heavy stages are Slurm jobs. No job is left in the end."""
    store = prepared.on_copy(tmp_path)
    yield replace(
        store,
        environment={
            **cluster.environment,
            "MINISERIES_DISPATCH": "slurm",
            "MINISERIES_SLURM_FOLDER": str(tmp_path / "jobs"),
            "MINISERIES_SLURM_COMMAND": shlex.join([sys.executable, str(PROGRAM)]),
            "MINISERIES_CHECKPOINT_SECONDS": "0.2",
        },
    )
    cluster.end_jobs()


def program(tmp_path: Path, text: str) -> dict[str, str]:
    """What the job runs instead of a stage: a shell script."""
    script = tmp_path / "program.sh"
    script.write_text(text)
    return {"MINISERIES_SLURM_COMMAND": f"sh {script}"}


def job_of(cluster: SlurmCluster, state: str) -> Callable[[], int | None]:
    """What to wait for: the number of the job in this state."""
    return lambda: next((number for number, found in cluster.jobs().items() if found == state), None)


def states(plan: dict[str, Any]) -> list[str]:
    return [stage["state"] for stage in plan["stages"] if stage["kind"] == "pretrain"]


def finished(process: subprocess.Popen[str]) -> str:
    """What it wrote to standard error, once it has ended."""
    return process.communicate()[1]


def test_a_job_whose_time_runs_out_is_requeued_and_ends_on_the_bits_of_a_stage_made_here(
    submitter: Miniseries, prepared: Miniseries, cluster: SlurmCluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    here = prepared.on_copy(tmp_path_factory.mktemp("here"))
    here.json("make", "endless_drope_25", "pretrain")
    process = submitter.start(*ENDLESS)
    wait_until(submitter.checkpoint("pretrain"))
    job = job_of(cluster, "RUNNING")()
    assert job is not None
    cluster.ask("scancel", "--signal=USR1", "--batch", str(job))  # what --signal=B:USR1@120 does before the limit
    told = finished(process)
    assert process.returncode == 0, told
    assert cluster.shown(job)["Restarts"] == "1"
    assert f"Slurm job {job} is pending (BeginTime), restart 1" in told
    assert int(told.split("continuing at step ")[1].split()[0]) > 0
    assert segment_hashes(submitter) == segment_hashes(here)


def test_a_cancelled_job_stays_cancelled_until_somebody_runs_it_again_and_a_killed_submitter_finds_it(
    submitter: Miniseries, cluster: SlurmCluster
) -> None:
    process = submitter.start(*ENDLESS)
    wait_until(submitter.checkpoint("pretrain"))
    job = job_of(cluster, "RUNNING")()
    assert job is not None
    cluster.ask("scancel", str(job))
    told = finished(process)
    assert process.returncode == 1
    assert f"Slurm job {job} was cancelled; run the same command again to continue" in told
    wait_until(lambda: states(submitter.json("plan", "endless_drope_25", "--json")) == ["resumable"])

    killed = submitter.start(*ENDLESS)
    second = wait_until(job_of(cluster, "RUNNING"))
    killed.send_signal(signal.SIGKILL)
    finished(killed)
    follower = submitter.start(*ENDLESS)
    assert follower.stderr is not None
    assert any(f"following Slurm job {second}" in line for line in follower.stderr)
    follower.send_signal(signal.SIGTERM)
    told = finished(follower)
    assert follower.returncode == 128 + signal.SIGTERM, told
    wait_until(lambda: cluster.jobs()[second] == "CANCELLED")
    assert set(cluster.jobs()) & {job, second, second + 1} == {job, second}
    assert not submitter.manifests("pretrain")
    wait_until(lambda: states(submitter.json("plan", "endless_drope_25", "--json")) == ["resumable"])


def test_a_job_on_two_nodes_trains_as_two_ranks_on_one_machine_do(
    submitter: Miniseries, prepared: Miniseries, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    here = prepared.on_copy(tmp_path_factory.mktemp("here"))
    here.json("make", "micro_drope_25", "pretrain", MINISERIES_PROCESSES="2")
    nodes = {"MINISERIES_SLURM_NODES": "2", "MINISERIES_CACHE": str(tmp_path / "shared")}
    done = submitter.run("hand", "micro_drope_25", "pretrain", **nodes)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 machines are there" in done.stderr
    assert segment_hashes(submitter) == segment_hashes(here)


def test_what_a_job_failed_of_is_the_one_line_of_its_submitter(submitter: Miniseries, tmp_path: Path) -> None:
    done = submitter.run(*ENDLESS, **program(tmp_path, "echo 'miniseries: the tokenizer is of wood'; exit 1"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("miniseries: pretrain/endless-000000-000300-")
    assert "failed: the tokenizer is of wood (log: " in done.stderr.splitlines()[-1]


def test_what_slurm_refuses_is_one_line(submitter: Miniseries) -> None:
    done = submitter.run(*ENDLESS, MINISERIES_SLURM_PARTITION="moon")
    assert done.returncode == 1
    assert "miniseries: sbatch was refused: sbatch: error: invalid partition specified: moon" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_who_want_a_stage_follow_one_job_through_a_restart_of_the_controller(
    submitter: Miniseries, cluster: SlurmCluster, tmp_path: Path
) -> None:
    waits = f"until [ -e {tmp_path}/go ]; do sleep 0.1; done; echo 'miniseries: enough'; exit 1"
    both = [submitter.start(*ENDLESS, **program(tmp_path, waits)) for _ in range(2)]
    job = wait_until(job_of(cluster, "RUNNING"))
    with cluster.without_controller():
        lines = iter(both[0].stderr or ())
        assert any("Slurm's controller gives no answer" in line for line in lines)
    (tmp_path / "go").touch()
    for process in both:
        assert f"Slurm job {job} failed: enough" in finished(process)
    jobs = [number for number in cluster.jobs() if number >= job]  # one that was cancelled while it waited has no node
    begun = [number for number in jobs if cluster.shown(number).get("NodeList") not in (None, "", "(null)")]
    assert begun == [job]
