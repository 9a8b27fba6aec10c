"""Taking part in the stages that another machine launches: `tasks.machines` says where they meet.

Guarantees: a launch is joined at most once by a process that joins; what its ranks print goes to the machine that
supervises; when that machine gives the launch up, or this process ends, the ranks here checkpoint and end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from tasks.launch import Launcher, command
from tasks.machines import ANNOUNCEMENT, SPECIFICATION, Machines, MachinesError, Place, posted_in, take_place
from tasks.supervise import supervise

POLL_SECONDS = 0.5
GONE_SECONDS = 60.0  # that ranks have to end by themselves after the launch was withdrawn

Say = Callable[[str], None]


class _Withdrawn(Exception):
    """The launch is over, and ranks of it are left here."""


def meeting_folder(machines: Machines | None) -> Path:
    """The folder of MINISERIES_RENDEZVOUS, made if need be. Raises `MachinesError` when no rendezvous is set."""
    if machines is None:
        raise MachinesError(
            "which machine is to be joined? Give the folder that it printed, or set MINISERIES_NODES, "
            "MINISERIES_RENDEZVOUS and MINISERIES_CACHE as there"
        )
    machines.meeting.mkdir(parents=True, exist_ok=True)
    return machines.meeting


def join_launches(folder: Path, grace_seconds: float, say: Say) -> NoReturn:
    """Join one launch after another that is posted in `folder`; a signal ends it.

    Raises `MachinesError` when there is no such folder, or when this machine cannot take part.
    """
    if not folder.is_dir():
        raise MachinesError(
            f"{folder} is no folder that this machine sees; give the one that the first machine printed, on a disk "
            "that both share"
        )
    joined: set[Path] = set()
    while True:
        for launch in posted_in(folder):
            if launch not in joined:
                joined.add(launch)
                if (place := take_place(launch)) is not None:
                    say(f"joined {launch.name} as machine {place[0].index + 1} of {place[0].launch.nodes}")
                    say(f"{launch.name} {_take_part(launch, *place, grace_seconds)}")
        time.sleep(POLL_SECONDS)


def _take_part(folder: Path, place: Place, output: Path, grace_seconds: float) -> str:
    """Run this machine's ranks to their end and say how it was. Why they ended is for the first machine to say."""
    try:
        code = supervise(
            command(Launcher.TORCHRUN, folder / SPECIFICATION, place.launch.processes, place),
            log=output,
            environment=place.environment(),
            grace_seconds=grace_seconds,
            family=lambda _process_ids: None,
            line=lambda _line: None,
            watch=_Watch(folder).look,
        )
    except _Withdrawn:
        return "was given up by the machine that launched it"
    return f"ended here with exit code {code}"


class _Watch:
    """Raises `_Withdrawn` when a launch was withdrawn a while ago."""

    def __init__(self, folder: Path) -> None:
        self._announcement = folder / ANNOUNCEMENT
        self._looked = time.monotonic()
        self._gone: float | None = None

    def look(self) -> None:
        """Often is fine."""
        now = time.monotonic()
        if now - self._looked < POLL_SECONDS:
            return
        self._looked = now
        if self._announcement.exists():
            self._gone = None
        elif self._gone is None:
            self._gone = now
        elif now - self._gone >= GONE_SECONDS:
            raise _Withdrawn
