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


class Phase(StrEnum):
    """How far a job is. The last four are ends; after any but FAILED and CANCELLED another job may go on."""

    WAITING = "waiting"  # in a queue
    RUNNING = "running"
    ENDED = "ended"  # well: the artifact is there, or somebody else held the lease and the job did not wait for it
    INTERRUPTED = "interrupted"  # crashed, preempted, out of time, withdrawn by another run: its checkpoint is kept
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
    """One job. Used by one thread. A scheduler that is away for a moment is waited for, in `report`, not raised."""

    @property
    def name(self) -> str:
        """As people find it: `Slurm job 123`."""

    def report(self) -> Report:
        """How it stands now; asked about once a second."""

    def cancel(self) -> None:
        """Ask it to checkpoint and end, because whoever wanted it stops; returns at once."""


class Scheduler(Protocol):
    """Queues jobs. At most one job of a stage is active, whoever asked for it."""

    def find(self, commission: Commission) -> Job | None:
        """The active job of the stage, waiting or running, whoever submitted it."""

    def submit(self, commission: Commission) -> Job:
        """A new job of the stage; two who submit at once get the same one.

        Raises `artifacts.errors.StoreError` or `tasks.perform.StageFailed` with one line when it cannot be submitted.
        """
