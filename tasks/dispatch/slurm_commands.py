"""Slurm's own commands as functions: sbatch, squeue, scontrol, sacct, scancel. No state, no decisions.

Each asks the controller once. No answer is `SchedulerAway`, a refusal is `SlurmError`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.dispatch.jobs import SchedulerAway
from tasks.dispatch.slurm_settings import SlurmError

ANSWER_SECONDS = 60.0  # Slurm's commands give up by themselves after a few tries of 10 s
NO_ANSWER = re.compile(
    r"Unable to contact slurm controller|Socket timed out|Connection refused|Zero Bytes were transmitted|"
    r"backup controller|Transport endpoint|Slurm temporarily unable|slurmctld|Resource temporarily unavailable|"
    r"Communication connection failure|Unexpected message received|Insane message length|Protocol authentication error",
    re.IGNORECASE,
)
UNKNOWN_JOB = "Invalid job id"
FIELD = re.compile(r"(?<!\S)(JobState|Reason|ExitCode|Restarts|NodeList)=(\S*)")


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """How Slurm says that a job stands."""

    state: str  # PENDING, RUNNING, COMPLETED, FAILED ...
    reason: str = ""  # why it waits, or ended
    exit_code: int = 0
    signal: int = 0  # that ended it; 0: none
    restarts: int = 0
    nodes: str = ""


def require_commands() -> None:
    """Raise `SlurmError` unless Slurm's commands are here."""
    for name in ("sbatch", "squeue", "scontrol", "scancel"):
        if shutil.which(name) is None:
            raise SlurmError(
                f"MINISERIES_DISPATCH=slurm needs the command {name}, which is not on PATH here; run this on a machine "
                "that submits to the cluster, or unset MINISERIES_DISPATCH"
            )


def submit(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """The number of the new job; it gets `environment` as sbatch has it."""
    output = _answer(["sbatch", "--parsable", *arguments], environment)
    return int(output.strip().split(";")[0])


def active_jobs(name: str) -> list[int]:
    """Our jobs with this name that have not ended, the oldest first."""
    output = _answer(["squeue", "--noheader", f"--user={os.getuid()}", f"--name={name}", "--format=%i"])
    return sorted(int(number) for number in output.split() if number.isdecimal())


def status(job: int) -> JobStatus | None:
    """How the job stands; None when Slurm has forgotten it, which it does minutes after its end."""
    try:
        shown = _answer(["scontrol", "--oneliner", "show", "job", str(job)])
    except SlurmError as error:
        if UNKNOWN_JOB not in str(error):
            raise
        return _accounted(job)
    fields = dict(FIELD.findall(shown))
    code, _, signal = fields["ExitCode"].partition(":")
    return JobStatus(
        state=fields["JobState"],
        reason=_said(fields["Reason"]),
        exit_code=int(code),
        signal=int(signal),
        restarts=int(fields.get("Restarts", "0")),
        nodes=_said(fields.get("NodeList", "")),
    )


def cancel(job: int) -> None:
    """SIGTERM to all of it now, SIGKILL when the cluster's KillWait is over; one that has ended is no error."""
    try:
        _answer(["scancel", str(job)])
    except SlurmError as error:
        if UNKNOWN_JOB not in str(error):
            raise


def requeue(job: int) -> None:
    """End the job, and let it begin again with the same number when there is room."""
    _answer(["scontrol", "requeue", str(job)])


def _accounted(job: int) -> JobStatus | None:
    """What the accounting database has of it, where there is one."""
    if shutil.which("sacct") is None:
        return None
    try:
        output = _answer(["sacct", "--noheader", "--parsable2", "-X", f"--jobs={job}", "--format=State,ExitCode"])
    except SlurmError:  # there is the command, and no database
        return None
    for line in output.splitlines():
        state, _, codes = line.partition("|")
        code, _, signal = codes.partition(":")
        return JobStatus(state=state.split()[0], exit_code=int(code or 0), signal=int(signal or 0))
    return None


def _answer(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SchedulerAway(f"{command[0]} has had no answer for {ANSWER_SECONDS:.0f} s; waiting for Slurm") from None
    if done.returncode == 0:
        return done.stdout
    said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
    if NO_ANSWER.search(said):
        raise SchedulerAway(f"Slurm's controller gives no answer ({said}); waiting for it")
    raise SlurmError(f"{command[0]} was refused: {said}; MINISERIES_SLURM_* say what a job asks for")


def _said(text: str) -> str:
    return "" if text in ("None", "(null)") else text
