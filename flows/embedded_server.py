"""Prefect's embedded server does not outlive its run for long: what a killed run left behind ends when the next begins.

Prefect starts the embedded server as a child and stops it at exit, which `kill -9` skips; each one left behind
keeps 200 MB. The run's process id travels to the child in its environment, which tells whose it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

import psutil

OWNER = "MINISERIES_RUN"
SERVER = "prefect.server.api.server:create_app"
GRACE_SECONDS = 5.0


def claim_embedded_server() -> None:
    """Mark every child of this process as its own; call before Prefect starts the server."""
    os.environ[OWNER] = str(os.getpid())


def end_orphaned_servers() -> None:
    """End the embedded servers of runs that are gone; those of other users and of living runs are left alone."""
    orphans = list(_orphaned_servers())
    for orphan in orphans:
        with suppress(psutil.NoSuchProcess):  # another run that begins now ends them too
            orphan.terminate()
    _, stubborn = psutil.wait_procs(orphans, timeout=GRACE_SECONDS)
    for orphan in stubborn:
        with suppress(psutil.NoSuchProcess):
            orphan.kill()


def end_own_server() -> None:
    """End the embedded server of this process: Prefect does not stop one that did not answer in time."""
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if SERVER in child.cmdline():
                child.kill()
                child.wait()


def _orphaned_servers() -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if SERVER in process.cmdline() and (owner := process.environ().get(OWNER)):
                parent = process.parent()
                if parent is None or str(parent.pid) != owner:
                    yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
