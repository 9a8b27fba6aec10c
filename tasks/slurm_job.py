"""The batch job of Slurm in which a stage is made, as the stage's supervisor sees it: how far earlier starts came,
and how to begin again.

    <MINISERIES_SLURM_FOLDER>/<job name>-<number>.starts     a line for each start: the step it began from
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from artifacts.lease_record import Holder
from tasks.dispatch import slurm_commands
from tasks.dispatch.slurm_settings import SlurmError
from tasks.perform import StageFailed, StageStopped

INTERRUPTED = 75  # exit code: what ended the stage may pass (EX_TEMPFAIL of sysexits.h)
HELD = 76  # exit code: another run is making the stage
TTLS_OF_PATIENCE = 2  # after which a lease is either proved abandoned or renewed by somebody who lives
FRUITLESS_STARTS = 3  # from one step: the job is not to begin again


@dataclass(frozen=True, kw_only=True)
class LeasePatience:
    """Waits for the lease of a holder that died, such as an earlier start of the job on a lost node, not of one alive.

    A job that waited longer would keep its GPUs from others: who submitted it waits at less cost.
    """

    lease_seconds: float
    since: float = field(default_factory=time.monotonic)

    def when_held(self, holder: Holder) -> None:
        """See `tasks.perform.Assignment`. Raises `StageStopped` when the lease is renewed."""
        if time.monotonic() - self.since > TTLS_OF_PATIENCE * self.lease_seconds:
            raise StageStopped(f"the stage is being made by {holder.description}; this job does not wait for it")


@dataclass(frozen=True, kw_only=True)
class SlurmBatchJob:
    """This process's job."""

    number: int
    starts: Path  # the file of its starts

    @classmethod
    def from_environment(cls) -> SlurmBatchJob:
        """Raises `SlurmError` outside of a job of `tasks.dispatch.slurm`."""
        number, name = os.environ.get("SLURM_JOB_ID", ""), os.environ.get("SLURM_JOB_NAME", "")
        folder = os.environ.get("MINISERIES_SLURM_FOLDER", "")
        if not (number.isdecimal() and folder):
            raise SlurmError(
                "--slurm-job is for the batch jobs of MINISERIES_DISPATCH=slurm; leave it out to make a stage here"
            )
        return cls(number=int(number), starts=Path(folder) / f"{name}-{number}.starts")

    def note_start(self, step: int | None) -> None:
        """Note the step from which the stage begins now, None: none is done.

        Raises `StageFailed` when the starts before came no further either: another would not.
        """
        before = self.starts.read_text().splitlines() if self.starts.exists() else []
        recent = [*before, str(step or 0)][-FRUITLESS_STARTS:]
        if len(recent) == FRUITLESS_STARTS and len(set(recent)) == 1:
            raise StageFailed(
                f"Slurm job {self.number} began {FRUITLESS_STARTS} times at step {step or 0} and came no further; its "
                "time limit (MINISERIES_SLURM_TIME) must leave time to start, train and checkpoint "
                "(MINISERIES_CHECKPOINT_SECONDS)"
            )
        with self.starts.open("a") as file:
            file.write(f"{recent[-1]}\n")

    def requeue(self) -> None:
        """Have Slurm begin the job again when there is room; this start of it ends."""
        slurm_commands.requeue(self.number)
