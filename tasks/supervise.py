"""One child process and all it starts, from start to end: output read, death noticed, life ended with ours.

The rules were learned by breaking them (facts on Prefect, 3.5):
- output goes to a file that is tailed, never to a pipe: a dead reader must not stop or kill the training;
- the child leads its own session, so that a terminal's Ctrl-C reaches only us and we pass it on once;
- torchrun puts every rank in yet another session, so descendants are followed by process, not by group;
- on any exception here the family is signalled first and anything is logged after, then given `grace`
  seconds to checkpoint, then killed.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import IO

import psutil

POLL_SECONDS = 0.1
# Passive waiting: with other work on the same cores, spinning barriers made a tiny training step up to 3x slower;
# alone on two cores it costs about 10 %.
# MKL promises the same bits from run to run only in its reproducible mode (CBWR) and with a fixed number of threads.
CHILD_DEFAULTS = {
    "PYTHONUNBUFFERED": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "OMP_DYNAMIC": "FALSE",
    "MKL_DYNAMIC": "FALSE",
    "MKL_CBWR": "AUTO",
}
FAMILY_SECONDS = 1.0  # between looks at which processes the child has started


def supervise(
    command: list[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    grace_seconds: float,
    family: Callable[[Sequence[int]], None],
    line: Callable[[str], None],
    watch: Callable[[], None],
) -> int:
    """Run `command` to its end and return its exit code (negative: the signal that killed it).

    The child gets this process's environment with `environment` over it. It is armed to hear of the death of the thread
    that started it, so the thread that calls this must be the one that stays until the end.
    `family` gets the process ids of the child and its descendants whenever they change, `line` every line of
    output as it appears, `watch` is called about ten times a second and may raise to stop the child.
    Whatever is raised in here is raised again once no process of the family is left.
    """
    with log.open("ab", buffering=0) as sink, log.open("r", encoding="utf-8", errors="replace") as reader:
        reader.seek(0, os.SEEK_END)
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**CHILD_DEFAULTS, **_torchrun_patience(grace_seconds), **os.environ, **environment},
        )
        relatives = _Family(child.pid)
        lines = _Lines(reader)
        try:
            while not _ended(child):
                if relatives.changed():
                    family(relatives.process_ids)
                lines.drain(line)
                watch()
            lines.drain(line)
        finally:
            relatives.end(child, grace_seconds)
        return child.returncode


def _torchrun_patience(grace_seconds: float) -> dict[str, str]:
    """torchrun kills its ranks so long after asking them to stop; its own 30 s would cut a longer checkpoint off."""
    return {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(ceil(grace_seconds))}


def _ended(child: subprocess.Popen[bytes]) -> bool:
    try:
        child.wait(timeout=POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


class _Family:
    """The child and every descendant seen so far, known by start time: a reused process id is not one of them."""

    def __init__(self, leader: int) -> None:
        self._leader = psutil.Process(leader)
        self._members = {leader: self._leader}
        self._told: list[int] = []
        self._looked = float("-inf")

    @property
    def process_ids(self) -> list[int]:
        return sorted(self._members)

    def changed(self) -> bool:
        """Look again if it is time; say whether there is someone new to tell about."""
        if time.monotonic() - self._looked >= FAMILY_SECONDS:
            self._look()
        if self.process_ids == self._told:
            return False
        self._told = self.process_ids
        return True

    def end(self, child: subprocess.Popen[bytes], grace_seconds: float) -> None:
        """SIGTERM to all who live, `grace_seconds` to checkpoint, then SIGKILL; returns when none is left."""
        self._look()
        for member in self._alive():
            _tell(member.terminate)
        deadline = time.monotonic() + grace_seconds
        while (alive := self._alive()) and time.monotonic() < deadline:
            psutil.wait_procs(alive[:1], timeout=POLL_SECONDS)
            self._look()
        for member in self._alive():
            _tell(member.kill)
        child.wait()

    def _look(self) -> None:
        self._looked = time.monotonic()
        for member in self._alive():
            try:
                descendants = member.children(recursive=True)
            except psutil.NoSuchProcess:
                continue
            self._members.update({descendant.pid: descendant for descendant in descendants})

    def _alive(self) -> list[psutil.Process]:
        return [member for member in self._members.values() if _lives(member)]


def _lives(process: psutil.Process) -> bool:
    """Running and not a zombie: an orphan that nobody reaps has ended all the same."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _tell(signal: Callable[[], None]) -> None:
    try:
        signal()
    except psutil.NoSuchProcess:
        return  # it ended between the look and the signal, which is what the signal was for


class _Lines:
    """Whole lines of a growing file; a line still being written waits for its end."""

    def __init__(self, reader: IO[str]) -> None:
        self._reader = reader
        self._partial = ""

    def drain(self, handle: Callable[[str], None]) -> None:
        *whole, self._partial = (self._partial + self._reader.read()).split("\n")
        for text in whole:
            handle(text)
