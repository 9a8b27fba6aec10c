"""Who a process is, for ever: host, boot, pid namespace, process id and start time; and whether it is provably dead.

A process id alone is reused, so it counts only with the start time that the kernel keeps (field 22 of
/proc/PID/stat, ticks since boot). Containers of one host share its boot but not its process ids, hence the namespace.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One process of this machine; `started` is None where the kernel does not tell."""

    pid: int
    started: int | None


@dataclass(frozen=True)
class Machine:
    """Where process ids mean the same thing: host name, boot and pid namespace; an empty boot equals nothing."""

    host: str
    boot: str

    def same_as(self, other: Machine) -> bool:
        """Whether the other's process ids can be looked up from here."""
        return bool(self.boot) and self == other


@cache
def this_machine() -> Machine:
    """The machine that this process runs on."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        return Machine(socket.gethostname(), "")
    return Machine(socket.gethostname(), f"{boot} {namespace}")


def identify(pid: int) -> Process:
    """The process that has the id `pid` now."""
    status = _status(pid)
    return Process(pid, status[1] if status else None)


def provably_dead(process: Process) -> bool:
    """True if the process is gone, is a zombie, or its id belongs to another process now; False when unsure."""
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it exists and belongs to somebody else; /proc may still tell its start time
    status = _status(process.pid)
    if status is None or process.started is None:
        return False
    state, started = status
    return state in ("Z", "X") or started != process.started


def _status(pid: int) -> tuple[str, int] | None:
    """State letter and start time of a process; None when /proc does not say."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may contain spaces and parentheses
    return fields[0], int(fields[19])
