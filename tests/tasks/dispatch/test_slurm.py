"""What Slurm says of a job, as whoever follows it understands it; Slurm's commands are scripts that say a line.

That the lines are Slurm's own is for tests/integration/test_slurm.py, where Slurm is installed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from artifacts.errors import StoreError
from core.planning.catalogue import find_stages
from core.stages.report import Measured, Progress
from tasks.dispatch.jobs import Commission, Phase, SchedulerAway
from tasks.dispatch.slurm import SlurmJob, SlurmScheduler
from tasks.dispatch.slurm_log import JobLog
from tasks.dispatch.slurm_script import BatchScript
from tasks.launch import Launcher
from tasks.perform import Assignment
from tasks.settings import settings_from_environment

NUMBER = 7


@dataclass
class Shown:
    """A display that remembers."""

    lines: list[str] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)

    def begin(self, title: str) -> None: ...

    def advance(self, title: str, progress: Progress) -> None:
        self.progress.append(progress)

    def measure(self, title: str, measured: Measured) -> None:
        self.measured.append(measured)

    def say(self, line: str) -> None:
        self.lines.append(line)

    def end(self, title: str, state: str, seconds: float, summary: str) -> None: ...


@pytest.fixture
def shown() -> Shown:
    return Shown()


@pytest.fixture
def script(shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BatchScript:
    """The script of a stage, where Slurm has no command yet."""
    for name, value in {"DISPATCH": "slurm", "SLURM_FOLDER": str(tmp_path), "STORE": str(tmp_path / "store")}.items():
        monkeypatch.setenv(f"MINISERIES_{name}", value)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    settings = settings_from_environment()
    assert settings.slurm is not None
    assignment = Assignment(
        stage=find_stages("tiny", "evaluate")[0],
        settings=settings,
        launcher=Launcher.PROCESS,
        title="evaluate tiny",
        display=shown,
    )
    return BatchScript(commission=Commission(tag="tiny", assignment=assignment), settings=settings.slurm)


def says(script: BatchScript, command: str, line: str, code: int = 0) -> None:
    """Make `command` say a line, on standard error when it fails."""
    path = script.settings.folder / "bin" / command
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{line}' {'>&2' if code else ''}\nexit {code}\n")
    path.chmod(0o755)


def job(script: BatchScript) -> SlurmJob:
    return SlurmJob(NUMBER, script, JobLog(script.log(NUMBER), script.commission.assignment))


def answer(state: str, reason: str = "None", code: str = "0:0", restarts: int = 0) -> str:
    head = f"JobId={NUMBER} JobName=x JobState={state} Reason={reason} Restarts={restarts}"
    return f"{head} ExitCode={code} NodeList=n1 BatchHost=n1"


@pytest.mark.parametrize(
    ("said", "phase", "text"),
    [
        (answer("PENDING", "Priority"), Phase.WAITING, "Slurm job 7 is pending (Priority)"),
        (answer("PENDING", "BeginTime", restarts=2), Phase.WAITING, "is pending (BeginTime), restart 2"),
        (answer("RUNNING"), Phase.RUNNING, "is running on n1"),
        (answer("COMPLETING"), Phase.RUNNING, "is completing on n1"),
        (answer("COMPLETED"), Phase.ENDED, ""),
        (answer("TIMEOUT", "TimeLimit", "0:15"), Phase.INTERRUPTED, "state TIMEOUT"),
        (answer("NODE_FAIL"), Phase.INTERRUPTED, "state NODE_FAIL"),
        (answer("PREEMPTED"), Phase.INTERRUPTED, "state PREEMPTED"),
        (answer("FAILED", "NonZeroExitCode", "75:0"), Phase.INTERRUPTED, ""),
        (answer("FAILED", "NonZeroExitCode", "138:0"), Phase.INTERRUPTED, ""),
        (answer("FAILED", "JobLaunchFailure", "0:9"), Phase.INTERRUPTED, ""),
        (answer("FAILED", "NonZeroExitCode", "76:0"), Phase.HELD, ""),
        (answer("FAILED", "NonZeroExitCode", "1:0"), Phase.FAILED, "failed: NonZeroExitCode, exit code 1:0 (log: "),
        (answer("FAILED", "JobLaunchFailure", "0:53"), Phase.FAILED, "failed: JobLaunchFailure, exit code 0:53"),
        (answer("CANCELLED"), Phase.CANCELLED, "was cancelled; run the same command again"),
    ],
)
def test_every_state_of_a_job_means_something(said: str, phase: Phase, text: str, script: BatchScript) -> None:
    says(script, "scontrol", said)
    report = job(script).report()
    assert report.phase is phase
    assert text in report.text


def test_a_job_that_a_run_withdrew_was_not_cancelled_by_a_person(script: BatchScript) -> None:
    says(script, "scontrol", answer("CANCELLED"))
    says(script, "scancel", "")
    one, another = job(script), job(script)
    assert one.withdraw()
    assert another.report().phase is Phase.WITHDRAWN


def test_a_forgotten_job_is_looked_up_in_the_accounts_and_without_them_it_is_lost(script: BatchScript) -> None:
    says(script, "scontrol", "slurm_load_jobs error: Invalid job id specified", code=1)
    lost = job(script).report()
    assert (lost.phase, lost.text) == (Phase.INTERRUPTED, "Slurm does not know job 7 any more")
    says(script, "sacct", "CANCELLED by 1000|0:0")
    assert job(script).report().phase is Phase.CANCELLED
    says(script, "sacct", "Slurm accounting storage is disabled", code=1)
    assert job(script).report().phase is Phase.INTERRUPTED


def test_a_controller_that_is_away_is_waited_for_and_a_refusal_is_not(script: BatchScript) -> None:
    says(script, "scontrol", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)", code=1)
    with pytest.raises(SchedulerAway, match="gives no answer"):
        job(script).report()
    says(script, "scontrol", "slurm_load_jobs error: Access denied", code=1)
    with pytest.raises(StoreError, match="scontrol was refused: slurm_load_jobs error: Access denied"):
        job(script).report()


def test_the_older_of_two_jobs_of_one_stage_is_followed_and_the_younger_cancelled(script: BatchScript) -> None:
    says(script, "sbatch", "9;cluster")
    says(script, "squeue", "9\n7")
    says(script, "scancel", "")
    scheduler = SlurmScheduler(script.settings)
    assert scheduler.submit(script.commission).name == "Slurm job 7"
    found = scheduler.find(script.commission)
    assert found is not None
    assert found.name == "Slurm job 7"
    says(script, "squeue", "")
    assert scheduler.find(script.commission) is None


def test_without_slurm_nothing_begins(script: BatchScript) -> None:
    for command in ("squeue", "scontrol", "scancel"):
        says(script, command, "")
    with pytest.raises(StoreError, match="needs the command sbatch, which is not on PATH here"):
        SlurmScheduler(script.settings).check()


def test_the_log_of_a_job_is_shown_as_it_grows_and_its_error_is_the_reason(script: BatchScript, shown: Shown) -> None:
    says(script, "scontrol", answer("FAILED", "NonZeroExitCode", "1:0"))
    log = script.log(NUMBER)
    log.write_text('@log half way\n@progress {"done": 1, "total": 2, "unit": "steps", "text": ""}\nnoise\n@lo')
    followed = job(script)
    followed.report()
    with log.open("a") as file:
        file.write('g further\n@measured {"step": 3, "values": {"loss": 2.5}}\nminiseries: no tokens are left\n')
    assert "failed: no tokens are left (log: " in job(script).report().text
    followed.report()
    assert shown.lines == ["half way", "half way", "further", "further"]  # two followed it
    assert shown.measured[-1] == Measured(3, {"loss": 2.5})
    assert shown.progress[0].done == 1
