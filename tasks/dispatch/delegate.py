"""A heavy stage brought about elsewhere: looked up, submitted unless somebody makes it already, followed to its end.

Guarantees: what the store has is never submitted; while another run holds the lease, the wait is here, where waiting is
cheap, and not in the queue of a GPU; a job that somebody else submitted is followed, not doubled; a job of ours is told
to checkpoint and end when we are asked to stop, one of somebody else goes on.
"""

from __future__ import annotations

import time

from artifacts.manifest import Manifest
from artifacts.store import Store
from tasks.dispatch.jobs import Commission, Job, Phase, Report, Scheduler
from tasks.perform import Performed, StageFailed, StageInterrupted, StageStopped, State

POLL_SECONDS = 1.0


def delegate(commission: Commission, scheduler: Scheduler) -> Performed:
    """Return the stage's artifact, made by a job of `scheduler` if need be.

    A job that was interrupted is followed by another one as long as each leaves a newer checkpoint; then
    `StageInterrupted` is raised. Raises `StageFailed` with the one line of a job that failed, or that a person
    cancelled, and `StageStopped` when asked to.
    """
    assignment, started = commission.assignment, time.monotonic()
    assignment.check_stop()
    store = assignment.settings.open_store()
    manifest = store.whole_manifest(commission.stage.address)
    if manifest is not None:
        return _performed(commission, "cached", manifest, started, "")
    assignment.display.begin(assignment.title)
    state: State | None = None
    try:
        manifest, state = _Delegation(commission, scheduler, store).run()
    finally:
        if state is None:
            assignment.display.end(assignment.title, _ending(commission), time.monotonic() - started, "")
    return _performed(commission, state, manifest, started, "made by another run" if state == "reused" else "")


def _performed(commission: Commission, state: State, manifest: Manifest, started: float, summary: str) -> Performed:
    seconds = time.monotonic() - started
    commission.assignment.display.end(commission.assignment.title, state, seconds, summary)
    return Performed(state=state, manifest=manifest, seconds=seconds)


def _ending(commission: Commission) -> str:
    return "stopped" if commission.assignment.stop.is_set() else "failed"


class _Delegation:
    """One stage until it is there."""

    def __init__(self, commission: Commission, scheduler: Scheduler, store: Store) -> None:
        self._commission = commission
        self._scheduler = scheduler
        self._store = store
        self._said = ""
        self._submitted: list[str] = []  # names of the jobs that are ours

    def run(self) -> tuple[Manifest, State]:
        """The manifest once it is there, and whether a job of ours made it."""
        while True:
            job = self._scheduler.find(self._commission)
            if (manifest := self._manifest()) is not None:
                return manifest, "made" if self._submitted else "reused"
            if job is None and (holder := self._store.holder_of(self._commission.stage.address)) is not None:
                self._say(f"waiting for {holder.description}")
                self._pause()
                continue
            if job is None:
                job = self._scheduler.submit(self._commission)
                self._submitted.append(job.name)
            self._say(f"on {job.name}" if job.name in self._submitted else f"following {job.name} of another run")
            self._follow(job)

    def _follow(self, job: Job) -> None:
        """Return when the artifact is there, or another job may be needed; raise what ends the stage for this run."""
        step = self._checkpoint_step()
        while self._manifest() is None:
            report = job.report()
            match report.phase:
                case Phase.WAITING | Phase.RUNNING:
                    self._say(f"{job.name}: {report.text or report.phase.value}")
                    self._pause(job)
                case Phase.ENDED:
                    self._ended(job)
                    return
                case Phase.INTERRUPTED:
                    self._interrupted(job, report, step)
                    return
                case Phase.CANCELLED | Phase.FAILED:
                    raise StageFailed(f"{self._address}: {report.text or f'{job.name} was {report.phase.value}'}")

    def _ended(self, job: Job) -> None:
        """A job that ended well and left nothing came upon a lease, which is waited for here, or has another store."""
        if self._manifest() is None and self._store.holder_of(self._commission.stage.address) is None:
            raise StageFailed(
                f"{self._address}: {job.name} ended well, but {self._store.url} has no manifest of it here; name a "
                "store that all workers share in MINISERIES_STORE: s3://bucket/prefix, or a shared folder"
            )

    def _interrupted(self, job: Job, report: Report, step_before: int) -> None:
        """Go on with another job if this one came further; otherwise leave the decision to the retries of the task."""
        line = f"{job.name} was interrupted: {report.text}" if report.text else f"{job.name} was interrupted"
        if self._checkpoint_step() <= step_before:
            raise StageInterrupted(f"{self._address}: {line}; run the same command again to continue")
        self._say(f"{line}; continuing from its checkpoint")

    def _pause(self, job: Job | None = None) -> None:
        """Wait a moment; when asked to stop, withdraw a job of ours, see it end within the grace, and raise."""
        assignment = self._commission.assignment
        if not assignment.stop.wait(POLL_SECONDS):
            return
        if job is not None and job.name in self._submitted:
            self._withdraw(job)
        assignment.check_stop()

    def _withdraw(self, job: Job) -> None:
        job.cancel()
        deadline = time.monotonic() + self._commission.assignment.settings.grace_seconds
        pause = min(POLL_SECONDS, self._commission.assignment.settings.grace_seconds / 10)
        while job.report().phase in (Phase.WAITING, Phase.RUNNING):
            if time.monotonic() >= deadline:
                raise StageStopped(f"{self._address}: {job.name} was told to stop and is still saving its checkpoint")
            time.sleep(pause)

    def _manifest(self) -> Manifest | None:
        return self._store.whole_manifest(self._commission.stage.address)

    def _checkpoint_step(self) -> int:
        """Of the newest checkpoint in the store; -1: none."""
        found = self._store.survey().get(self._commission.stage.address.folder)
        return -1 if found is None or found.checkpoint_step is None else found.checkpoint_step

    def _say(self, line: str) -> None:
        """Tell people, once."""
        if line != self._said:
            self._said = line
            self._commission.assignment.display.say(f"{self._commission.assignment.title}: {line}")

    @property
    def _address(self) -> str:
        return str(self._commission.stage.address)
