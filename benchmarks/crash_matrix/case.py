"""A row of the matrix before it is played, and after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from benchmarks.crash_matrix.fault import Fault

if TYPE_CHECKING:
    from benchmarks.crash_matrix.scene import Scene


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of the matrix."""

    death: str
    runs: int
    fault: Fault
    aftermath: Callable[[Scene], None] = lambda scene: None  # what the world does once the fault has struck
    store: Literal["folder", "s3"] = "folder"  # on S3 every run is on a machine of its own
    prefect: Literal["shared", "own", "embedded"] = "shared"
    small_disk: Literal["", "store", "cache"] = ""  # which folder is on a disk of its own, small enough to fill
    lease_seconds: float = 60.0
    waiting_seconds: float = 0.0  # in which nothing is done: such rows are played first, beside others
    pool: Literal["", "gpu", "cpu"] = ""  # of a Prefect server of its own; gpu: a worker of it makes heavy stages;
    # cpu: a worker of it runs the pipelines, which are deployed

    @property
    def name(self) -> str:
        """Unique among the rows."""
        return f"{self.death}, {self.place}, {self.runs}"

    @property
    def place(self) -> str:
        """Where the artifacts are, and who makes them."""
        return self.store + {"": "", "gpu": ", GPU pool", "cpu": ", deployed"}[self.pool]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a case came to: a row of the table."""

    death: str
    runs: int
    store: str
    shown: str  # of the run that was struck: how it ended and its last line
    resumed: str
    step: str  # from which the stage went on
    attempts: int  # at the stage that was under way
    wrong: list[str]
    seconds: float
    revision: str = ""  # of the code that was played; ends in + where that was changed

    @property
    def name(self) -> str:
        """That of the case."""
        return f"{self.death}, {self.store}, {self.runs}"
