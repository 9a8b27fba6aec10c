"""A stage process does not outlive its supervisor: when the parent dies, however it dies, SIGTERM arrives.

Without this, `kill -9` of the flow process would leave a training job running unsupervised on a rented GPU.
The kernel keeps the setting across exec, so a launcher can arm itself and then become torchrun.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int | None = None) -> None:
    """Ask the kernel for SIGTERM at the parent's death (Linux; elsewhere a no-op).

    `parent` is the process id the caller expects; if it died before the request was made, the signal is
    raised here, since the kernel will not send it any more.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """`python -m core.stages.parent_death PARENT COMMAND...`: arm, then become COMMAND."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    die_with_parent(parent)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
