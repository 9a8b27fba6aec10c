"""What an experiment tracker is told: a run once, then numbers by optimizer step.

A run is named by the key of its stage, so that a process that continues a stage continues its run too. Secrets are no
part of it: every tool reads its own from its own environment variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PROJECT = "miniseries"  # under which the tools list our runs

Scalar = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """One stage as the trackers show it."""

    name: str
    key: str  # of the stage, 64 hex digits
    folder: Path  # of all runs: trackers that write files make their own folder in it
    settings: Mapping[str, Scalar]  # shown beside the curves

    @property
    def identifier(self) -> str:
        """The run, among all runs of all time: the same for every process that works on the stage."""
        return self.key[:12]

    @property
    def label(self) -> str:
        """The run for people and for file systems."""
        return f"{self.name}-{self.identifier}"


class Tracker(Protocol):
    """Shows the numbers of one run; used by one process at a time, the one that leads."""

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Show `values` at optimizer step `step`, which is never below that of the call before.

        A process that continues a run repeats the steps since its checkpoint: they are shown once.
        """

    def close(self) -> None:
        """Hand over what is still buffered; nothing is recorded afterwards."""


class NoTracker:
    """Shows nothing: for the ranks that do not lead, and for runs that nobody tracks."""

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
