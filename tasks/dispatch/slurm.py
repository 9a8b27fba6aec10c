"""Heavy stages as Slurm jobs: submitted once, followed by their log and state, told to checkpoint and end.

A job survives whoever submitted it, and its name tells the next one that it is there. At its time limit it checkpoints
and requeues itself (`tasks.slurm_job`); preemption and lost nodes are Slurm's to requeue.
"""

from __future__ import annotations

import time
from pathlib import Path

from tasks.dispatch import slurm_commands
from tasks.dispatch.jobs import Commission, Phase, Report
from tasks.dispatch.slurm_commands import JobStatus
from tasks.dispatch.slurm_log import JobLog
from tasks.dispatch.slurm_script import BatchScript
from tasks.dispatch.slurm_settings import SlurmSettings
from tasks.slurm_job import HELD, INTERRUPTED

WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT"})
ENDS = {
    "COMPLETED": Phase.ENDED,
    "CANCELLED": Phase.CANCELLED,
    "FAILED": Phase.FAILED,
    "TIMEOUT": Phase.INTERRUPTED,
    "PREEMPTED": Phase.INTERRUPTED,
    "NODE_FAIL": Phase.INTERRUPTED,
    "BOOT_FAIL": Phase.INTERRUPTED,
    "OUT_OF_MEMORY": Phase.INTERRUPTED,
    "DEADLINE": Phase.INTERRUPTED,
    "REVOKED": Phase.INTERRUPTED,
}  # any other state: it runs, or is about to begin or to end
SOON, LATER = 1.0, 5.0  # seconds between questions to the controller: after a change of state, and in the long run
SETTLED_SECONDS = 60.0
LAST_SIGNAL = 31  # Slurm tells of a job that could not be launched as of one that a higher number killed


class SlurmScheduler:
    """Submits with the settings of this run."""

    def __init__(self, settings: SlurmSettings) -> None:
        self._settings = settings

    def check(self) -> None:
        """See `tasks.dispatch.jobs.Scheduler`. Raises `SlurmError`."""
        slurm_commands.require_commands()

    def find(self, commission: Commission) -> SlurmJob | None:
        """See `tasks.dispatch.jobs.Scheduler`. Of two jobs of one stage the older is meant; the other waits for it."""
        script = self._script(commission)
        active = slurm_commands.active_jobs(script.name)
        if not active:
            return None
        return SlurmJob(active[0], script, JobLog.from_now(script.log(active[0]), commission.assignment))

    def submit(self, commission: Commission) -> SlurmJob:
        """See `tasks.dispatch.jobs.Scheduler`. Raises `SlurmError` when Slurm does not accept the job."""
        script = self._script(commission)
        script.write()
        number = self._submitted(script)
        first = slurm_commands.active_jobs(script.name)[:1]
        if first and first[0] < number:  # another run was faster, and finds the same by the same rule
            slurm_commands.cancel(number)
            number = first[0]
        return SlurmJob(number, script, JobLog(script.log(number), commission.assignment))

    def _submitted(self, script: BatchScript) -> int:
        """The number of the new job. If its answer was lost, it is found by who asks again."""
        store = script.commission.assignment.settings.open_store()
        return slurm_commands.submit(script.arguments(), script.environment(store.url))

    def _script(self, commission: Commission) -> BatchScript:
        return BatchScript(commission=commission, settings=self._settings)


class SlurmJob:
    """One job, followed."""

    def __init__(self, number: int, script: BatchScript, log: JobLog) -> None:
        self._number = number
        self._script = script
        self._log = log
        self._report = Report(phase=Phase.WAITING)
        self._changed = self._asked = float("-inf")

    @property
    def name(self) -> str:
        """As `squeue` numbers it."""
        return f"Slurm job {self._number}"

    def report(self) -> Report:
        """See `tasks.dispatch.jobs.Job`. The log is read every time, Slurm asked less often the longer nothing changes.

        Raises `SchedulerAway`.
        """
        self._log.read()
        now = time.monotonic()
        if now - self._asked >= (SOON if now - self._changed < SETTLED_SECONDS else LATER):
            self._asked = now
            report = self._reported(slurm_commands.status(self._number))
            if report != self._report:
                self._report, self._changed = report, now
        return self._report

    def withdraw(self) -> bool:
        """See `tasks.dispatch.jobs.Job`. Another run that follows the job sees why it ended, and submits another."""
        self._withdrawal.touch()
        slurm_commands.cancel(self._number)
        self._asked = float("-inf")
        return True

    def _reported(self, status: JobStatus | None) -> Report:
        if status is None:
            return Report(phase=Phase.INTERRUPTED, text=f"Slurm does not know job {self._number} any more")
        if status.state in WAITING:
            again = f", restart {status.restarts}" if status.restarts else ""
            return Report(phase=Phase.WAITING, text=f"{self.name} is pending ({status.reason or 'None'}){again}")
        if status.state not in ENDS:
            return Report(phase=Phase.RUNNING, text=f"{self.name} is {status.state.lower()} on {status.nodes}".strip())
        self._log.read()  # the last lines
        return self._ended(status)

    def _ended(self, status: JobStatus) -> Report:
        phase = ENDS[status.state]
        if phase is Phase.CANCELLED and self._withdrawal.exists():
            return Report(phase=Phase.WITHDRAWN, text=f"{self.name} was cancelled by a run that wanted it no more")
        if phase is Phase.CANCELLED:
            return Report(phase=phase, text=f"{self.name} was cancelled; run the same command again to continue")
        if phase is Phase.FAILED and status.exit_code == HELD:
            phase = Phase.HELD
        elif phase is Phase.FAILED and self._may_pass(status):
            phase = Phase.INTERRUPTED
        if phase is Phase.FAILED:
            why = self._log.error or f"{status.reason or 'failed'}, exit code {status.exit_code}:{status.signal}"
            return Report(phase=phase, text=f"{self.name} failed: {why} (log: {self._script.log(self._number)})")
        return Report(phase=phase, text=self._log.error or f"state {status.state}")

    def _may_pass(self, status: JobStatus) -> bool:
        """Whether what ended the job was no fault of the stage: a signal, or what the stage itself says may pass."""
        return status.exit_code in (INTERRUPTED, *range(129, 160)) or 0 < status.signal <= LAST_SIGNAL

    @property
    def _withdrawal(self) -> Path:
        """Tells other runs that a run, not a person, cancelled the job."""
        return self._script.log(self._number).with_suffix(".withdrawn")
