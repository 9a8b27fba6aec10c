"""A heavy stage brought about elsewhere: looked up, submitted unless somebody makes it already, followed to its end.

Guarantees: what the store has is never submitted; while another run holds the lease, the wait is here, where waiting is
cheap, and not in the queue of a GPU; a job that somebody else submitted is followed, not doubled; when we
are asked to stop, the job is told to checkpoint and end, unless another run wants it too.
"""

from __future__ import annotations

import time

from artifacts.manifest import Manifest
from artifacts.store import Store
from tasks.dispatch.jobs import Commission, Job, Phase, Report, Scheduler, SchedulerAway
from tasks.perform import Performed, StageFailed, StageInterrupted, StageStopped, State

POLL_SECONDS = 1.0
NO_CHECKPOINT = -1
UNDER_WAY = (Phase.WAITING, Phase.RUNNING)


def delegate(commission: Commission, scheduler: Scheduler) -> Performed:
    """Return the stage's artifact, made by a job of `scheduler` if need be.

    A job that was interrupted is followed by another one as long as each leaves a newer checkpoint; then
    `StageInterrupted` is raised. Raises `StageFailed` with the one line of a job that failed, or that a person
    cancelled, and `StageStopped` when asked to.
    """
    assignment, started = commission.assignment, time.monotonic()
    assignment.check_stop()
    store = assignment.settings.open_store()
    store.trash.keep(commission.stage.address, assignment.settings.lease_seconds, assignment.pause)
    state: State = "cached"
    store.trash.keep(commission.stage.address, assignment.settings.lease_seconds, assignment.pause)
    manifest = store.whole_manifest(commission.stage.address)
    ending = "failed"
    try:
        if manifest is None:
            assignment.display.begin(assignment.title)
            state, manifest = _Delegation(commission, scheduler, store).run()
        ending = state
    except StageStopped:
        ending = "stopped"
        raise
    finally:
        summary = "made by another run" if ending == "reused" else ""
        assignment.display.end(assignment.title, ending, time.monotonic() - started, summary)
    return Performed(state=state, manifest=manifest, seconds=time.monotonic() - started)


class _Delegation:
    """One stage until it is there."""

    def __init__(self, commission: Commission, scheduler: Scheduler, store: Store) -> None:
        self._commission = commission
        self._assignment = commission.assignment
        self._address = commission.stage.address
        self._scheduler = scheduler
        self._store = store
        self._said = ""
        self._submitted = False

    def run(self) -> tuple[State, Manifest]:
        """Whether a job of ours made it, and the manifest, once it is there."""
        while True:
            try:
                job = self._found_or_submitted()
            except SchedulerAway as error:
                self._wait_for(error, None)
                continue
            if job is not None:
                self._follow(job)
            if (manifest := self._manifest()) is not None:
                return "made" if self._submitted else "reused", manifest
            if job is None:
                self._pause()

    def _found_or_submitted(self) -> Job | None:
        """The job to follow; None when there is nothing to follow: the stage is there, or another run is making it."""
        job = self._scheduler.find(self._commission)
        if job is not None:
            self._say(f"following {job.name}")
            return job
        if self._manifest() is not None:
            return None
        if (holder := self._store.holder_of(self._address)) is not None:
            self._say(f"waiting for {holder.description}")
            return None
        job = self._scheduler.submit(self._commission)
        self._submitted = True
        self._say(f"handed to {job.name}")
        return job

    def _follow(self, job: Job) -> None:
        """Return when the stage is there, or another job may be needed; raise what ends the stage for this run."""
        step = self._checkpoint_step()
        while self._manifest() is None:
            try:
                report = job.report()
            except SchedulerAway as error:
                self._wait_for(error, job)
                continue
            if report.phase not in UNDER_WAY:
                self._draw_consequences(job, report, step)
                return
            self._say(report.text or f"{report.phase} as {job.name}")
            self._pause(job)

    def _draw_consequences(self, job: Job, report: Report, step_before: int) -> None:
        match report.phase:
            case Phase.CANCELLED | Phase.FAILED:
                line = report.text or f"{job.name} was {report.phase}"
                raise StageFailed(line if str(self._address) in line else f"{self._address}: {line}")
            case Phase.INTERRUPTED:
                self._interrupted(job, report, step_before)
            case Phase.ENDED:
                self._require_manifest(job)
            case _:
                self._say(f"{job.name} ended before its time: {report.text or report.phase}")
                self._pause()

    def _interrupted(self, job: Job, report: Report, step_before: int) -> None:
        """Go on with another job if this one came further; otherwise the retries of the task decide."""
        line = f"{job.name} was interrupted" + (f": {report.text}" if report.text else "")
        if self._checkpoint_step() <= step_before:
            raise StageInterrupted(f"{self._address}: {line}; run the same command again to continue")
        self._say(f"{line}; another one continues from its last checkpoint")

    def _require_manifest(self, job: Job) -> None:
        if self._manifest() is None:
            raise StageFailed(
                f"{self._address}: {job.name} ended well, but {self._store.url} has no manifest of it here; name a "
                "store that all workers share in MINISERIES_STORE: s3://bucket/prefix, or a shared folder"
            )

    def _wait_for(self, error: SchedulerAway, job: Job | None) -> None:
        self._say(f"{error}; asking again until it does")
        self._pause(job)

    def _pause(self, job: Job | None = None) -> None:
        """Wait a moment. When asked to stop, see a job of ours end, as long as the grace lasts, and raise."""
        if not self._assignment.stop.wait(POLL_SECONDS):
            return
        if job is not None:
            self._withdraw(job)
        self._assignment.check_stop()

    def _withdraw(self, job: Job) -> None:
        """Tell the job that we want it no more, and wait until it has ended; let it be where another run wants it."""
        deadline = time.monotonic() + self._assignment.settings.grace_seconds
        told = False
        while time.monotonic() < deadline:
            try:
                if not told and not job.withdraw():
                    return
                told = True
                if job.report().phase not in UNDER_WAY:
                    return
            except SchedulerAway as error:
                self._say(str(error))
            time.sleep(POLL_SECONDS / 4)
        saving = "was told to stop and may still be saving its checkpoint" if told else "could not be told to stop"
        raise StageStopped(f"{self._address}: stopped; {job.name} {saving}")

    def _manifest(self) -> Manifest | None:
        return self._store.whole_manifest(self._address)

    def _checkpoint_step(self) -> int:
        """Of the newest checkpoint in the store."""
        found = self._store.survey().get(self._address.folder)
        return NO_CHECKPOINT if found is None or found.checkpoint_step is None else found.checkpoint_step

    def _say(self, line: str) -> None:
        """Tell people, once."""
        if line != self._said:
            self._said = line
            self._assignment.display.say(f"{self._assignment.title}: {line}")
