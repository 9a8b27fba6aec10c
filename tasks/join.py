"""Taking part in the stages that another machine launches: `tasks.machines` says where they meet.

Guarantees: a launch is joined at most once by a process that joins; what its ranks print goes to the machine that
supervises; when that machine gives the launch up, or this process ends, the ranks here checkpoint and end.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

from tasks.launch import Launcher, command
from tasks.machines import ANNOUNCEMENT, SPECIFICATION, MachinesError, Place, posted_in, take_place
from tasks.supervise import supervise

POLL_SECONDS = 0.5
GONE_SECONDS = 60.0  # that ranks have to end by themselves after the launch was withdrawn

log = logging.getLogger("miniseries.tasks")


class _Withdrawn(Exception):
    """The launch is over, and ranks of it are left here."""


def join_launches(folder: Path, grace_seconds: float) -> None:
    """Join one launch after another that is posted in `folder`; returns never: a signal ends it.

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
                    _take_part(launch, *place, grace_seconds)
        time.sleep(POLL_SECONDS)


def _take_part(folder: Path, place: Place, output: Path, grace_seconds: float) -> None:
    """Run this machine's ranks to their end. Why they ended is for the first machine to say."""
    log.info("joined %s as machine %d of %d", folder.name, place.index + 1, place.launch.nodes)
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
        log.info("%s was given up by the machine that launched it", folder.name)
        return
    log.info("%s ended here with exit code %d", folder.name, code)


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
