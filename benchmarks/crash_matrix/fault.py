"""What is done to a run, and when: a moment is one operation on the store, so it is hit by order and not by the clock.

A fault travels to the processes of a case in their environment. It strikes once: whoever reaches its moment first
creates a file, and who finds that file goes on undisturbed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Role = Literal["run", "rank"]  # the process of the command line or of a GPU job; one training process
Operation = Literal["create", "replace", "delete", "upload"]
Blow = Literal["KILL", "TERM", "INT", "STOP", "FILL"]  # a signal to the victims; or the victims' disk is filled
Victim = Literal[
    "rank", "torchrun", "run", "family", "everything", "prefect", "store", "disk", "worker", "supervisor", "node"
]

FAULT = "CRASH_FAULT"  # the fault as JSON
FOLDER = "CRASH_FOLDER"  # of the case: what its processes tell is here
MACHINE = "CRASH_MACHINE"  # stands for another host
RUN = "CRASH_RUN"  # process id of the run or GPU job whose stage is made, set by itself
JOB = "CRASH_JOB"  # set for what a worker starts
RUNS = "CRASH_RUNS"  # how many there are
PREFECT = "CRASH_PREFECT"  # process id of the Prefect server
STORE = "CRASH_STORE"  # process id of the S3 server
DISK = "CRASH_DISK"  # a folder on the disk that is filled


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Right before or right after the `count`-th successful operation of a process on a path that matches."""

    role: Role
    operation: Operation
    path: str  # regular expression, searched in the path relative to the store
    when: Literal["before", "after"]
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A blow at a moment."""

    moment: Moment
    blow: Blow
    victims: tuple[Victim, ...]

    def environment(self) -> Mapping[str, str]:
        """What carries it to the processes of a case."""
        return {FAULT: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls) -> Fault | None:
        """The fault that is to strike in this process's case, if any."""
        text = os.environ.get(FAULT)
        if not text:
            return None
        values = json.loads(text)
        return cls(moment=Moment(**values["moment"]), blow=values["blow"], victims=tuple(values["victims"]))


@dataclass(frozen=True, kw_only=True)
class Strike:
    """That a fault has struck: what it leaves for who runs the case."""

    at: float  # monotonic clock of this machine
    run: int  # process id of the run that was struck
    folder: str  # of the artifact that was being made

    def publish(self, case: Path) -> bool:
        """Write it, unless another process has struck already; says whether it was us."""
        part = case / f"strike-{os.getpid()}.part"
        part.write_text(json.dumps(asdict(self)))
        try:
            os.link(part, case / "strike.json")
        except FileExistsError:
            return False
        finally:
            part.unlink()
        return True

    @classmethod
    def read(cls, case: Path) -> Strike | None:
        """What was published, if anything was."""
        try:
            return cls(**json.loads((case / "strike.json").read_text()))
        except FileNotFoundError:
            return None
