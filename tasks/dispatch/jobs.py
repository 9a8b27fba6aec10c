"""A heavy stage as a job of some other scheduler: what `tasks.dispatch.delegate` asks of a GPU pool and of Slurm.

A job brings the stage about by itself: it takes the lease, trains, checkpoints to the store and commits. Whoever
delegates follows it; that the stage exists is told by the store alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from core.planning.stage import Stage
from tasks.perform import Assignment


class SchedulerAway(Exception):
    """The scheduler gave no answer, for now: who follows a job waits until it does."""


class Phase(StrEnum):
    """How far a job is. All but the first two are ends; after HELD, INTERRUPTED, WITHDRAWN another may follow."""

    WAITING = "waiting"  # in a queue
    RUNNING = "running"
    ENDED = "ended"  # well: the artifact is there
    HELD = "held"  # well: somebody else held the lease, for which a job does not wait
    INTERRUPTED = "interrupted"  # crashed, preempted, out of time: its checkpoint is kept
    WITHDRAWN = "withdrawn"  # cancelled because another run that wanted it stopped: its checkpoint is kept
    CANCELLED = "cancelled"  # by a person, who does not want it to start again by itself
    FAILED = "failed"  # and running it again will end the same way


@dataclass(frozen=True, kw_only=True)
class Report:
    """How a job stands. `text`: one line for people, such as why it waits or what it failed of."""

    phase: Phase
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Commission:
    """A stage to be brought about elsewhere; `tag` is one by which the other machine finds it."""

    tag: str
    assignment: Assignment

    @property
    def stage(self) -> Stage:
        """What is to be there in the end."""
        return self.assignment.stage


class Job(Protocol):
    """One job, used by one thread. Its methods raise `SchedulerAway`."""

    @property
    def name(self) -> str:
        """As people find it: `Slurm job 123`."""

    def report(self) -> Report:
        """How it stands now; asked about once a second."""

    def withdraw(self) -> bool:
        """Ask it to checkpoint and end, since this run wants it no more; False: it goes on, for another run.

        Returns at once; the job ends in its own time.
        """


class Scheduler(Protocol):
    """Queues jobs, at most one of a stage at a time, whoever asks for it. Its methods raise `SchedulerAway`."""

    def check(self) -> None:
        """Raise `tasks.settings.SettingsError` when no job can be submitted, before hours of other stages were made."""

    def find(self, commission: Commission) -> Job | None:
        """The active job of the stage, waiting or running, whoever submitted it."""

    def submit(self, commission: Commission) -> Job:
        """A new job of the stage; two who submit at once get the same one.

        Raises `artifacts.errors.StoreError` or `tasks.perform.StageFailed` with one line when it cannot be submitted.
        """
