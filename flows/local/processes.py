"""Processes that outlive the command that started them, and are known again later.

They lead sessions of their own, so neither Ctrl-C nor the end of the terminal reaches them. A process is ours when
its environment carries our mark; children inherit it, so what descends from us is found even after its parents died.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from artifacts.process import Process, identify, provably_dead

MARK = "MINISERIES_UP"
POLL_SECONDS = 0.05


def start_detached(command: Sequence[str], *, folder: Path, environment: Mapping[str, str], log: Path) -> Process:
    """Start a process that writes to the end of `log`.

    Its signals have their default actions, provided that SIGINT has a handler here: what is ignored here would be
    ignored there too, and a Prefect worker that ignores SIGINT cannot be stopped.
    """
    with log.open("ab") as sink:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return identify(child.pid)


def lives(process: Process | None, mark: str) -> bool:
    """Whether it is running and ours: not dead, not a zombie, and no other process has its id now."""
    if process is None or provably_dead(process):
        return False
    try:
        return _mark_of(psutil.Process(process.pid)) == mark
    except psutil.NoSuchProcess:
        return False


def marked(mark: str) -> list[psutil.Process]:
    """Every running process that carries the mark, except this one and those that it descends from."""
    above = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [process for process in psutil.process_iter() if process.pid not in above and _mark_of(process) == mark]


def end(processes: Iterable[psutil.Process], grace_seconds: float) -> list[psutil.Process]:
    """SIGTERM, `grace_seconds` to end, then SIGKILL. Return those that had to be killed."""
    asked = list(processes)
    for process in asked:
        tell(process.terminate)
    stubborn = still_alive(asked, grace_seconds)
    for process in stubborn:
        tell(process.kill)
    still_alive(stubborn, grace_seconds)
    return stubborn


def still_alive(processes: Sequence[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until none of them runs, at most so long; return those that do.

    A zombie has ended: where nobody reaps orphans it stays for ever, so `psutil.wait_procs` would wait for nothing.
    """
    deadline = time.monotonic() + seconds
    while (alive := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return alive


def tell(signal: Callable[[], None]) -> None:
    """Send a signal to what may have ended meanwhile, which is as good."""
    try:
        signal()
    except psutil.NoSuchProcess:
        return


def words(process: psutil.Process) -> list[str]:
    """Its command line; none when it has ended."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _mark_of(process: psutil.Process) -> str | None:
    """The mark of a running process; None for others', for zombies and for what has ended."""
    try:
        return process.environ().get(MARK)
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess, OSError):
        return None
