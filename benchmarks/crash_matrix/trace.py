"""What the processes of a case did to the store, line by line as it happened: the judge's evidence.

All of them run on one machine, so its monotonic clock orders what they wrote. A line is one write to a file opened for
appending, so lines of several processes do not mix.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

What = Literal["acquired", "waits", "rank", "continues", "checkpoint", "commit", "removed"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that a process did, after it was done.

    acquired    `token`; `flow_run`, empty outside of deployments; `released`, `expires_at` of the lease before;
                `alive`: its ranks that live
    waits       another process has the lease
    rank        a training process begins: `token`
    continues   a rank reads the checkpoint `path`: it goes on from there
    checkpoint  a rank has declared the checkpoint `path`
    commit      a run has created the manifest of `attempt`
    removed     a process is about to remove `path`
    """

    what: What
    folder: str  # of the artifact
    at: float  # seconds of the machine's monotonic clock
    wall: float  # seconds since the epoch
    process: int
    run: int  # process id of the run it belongs to
    details: Mapping[str, Any] = field(default_factory=dict)


def record(case: Path, what: What, folder: str, run: int, **details: object) -> None:
    """Append an event to the trace of a case."""
    event = Event(
        what=what,
        folder=folder,
        at=time.monotonic(),
        wall=time.time(),
        process=os.getpid(),
        run=run,
        details=details,
    )
    descriptor = os.open(_path(case), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, (json.dumps(asdict(event)) + "\n").encode())
    finally:
        os.close(descriptor)


def read_trace(case: Path) -> list[Event]:
    """Every event so far, in the order of their times."""
    try:
        lines = _path(case).read_text().splitlines()
    except FileNotFoundError:
        return []
    return sorted((Event(**json.loads(line)) for line in lines), key=lambda event: event.at)


def _path(case: Path) -> Path:
    return case / "trace.jsonl"
