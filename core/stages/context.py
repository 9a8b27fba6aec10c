"""The one contract that every stage obeys: read `inputs`, write files under `output`, return metrics.

A producer is a function `produce(context: StageContext) -> Metrics`. It must write the same bytes for the
same identity and inputs, use `checkpoints` if it runs for long, and leave nothing outside `output` and `scratch`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from artifacts.progress import SavedCheckpoint
from core.stages.report import Reporter
from core.stages.runtime import Runtime
from core.stages.streamed import StreamedInput

Metrics = Mapping[str, object]  # JSON values: what a person wants to know about the artifact

IdentityT = TypeVar("IdentityT")


class Checkpoints(Protocol):
    """Where an unfinished stage leaves its state; `artifacts.progress.Progress` implements it."""

    def save(self, step: int, directory: Path) -> None:
        """Upload every file of `directory` as the state before `step`, then declare it. Raises when fenced off."""

    def newest(self) -> SavedCheckpoint | None:
        """Return the newest checkpoint that verifies, downloaded; None when there is none."""

    def add(self, step: int, directory: Path) -> None:
        """Like `save`, but what was saved stays: for a state that only grows, of which `directory` is what is new."""

    def every(self) -> list[SavedCheckpoint]:
        """Return all checkpoints that verify, downloaded, the oldest first."""


class Interrupted(Exception):
    """The stage was asked to stop and has saved what it could; running it again continues from there."""


class StageError(Exception):
    """A stage cannot be made, for a reason its user can act on: one line, no traceback."""


class StageUnavailable(StageError):
    """A stage cannot be made now, because something outside gives no answer: worth another try, then one line."""


@dataclass(frozen=True, kw_only=True)
class StageContext(Generic[IdentityT]):
    """Everything a producer may use."""

    name: str
    key: str
    identity: IdentityT
    inputs: Mapping[str, Path]  # role -> folder of verified files
    output: Path  # empty folder; every file in it at the end becomes the artifact
    scratch: Path  # removed afterwards
    checkpoints: Checkpoints
    report: Reporter
    runtime: Runtime
    streamed: Mapping[str, StreamedInput] = field(default_factory=dict)  # role -> input that is fetched when needed
