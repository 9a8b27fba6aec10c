"""Compute under the environment that stages compute under: threads that wait asleep, reproducible products."""

from __future__ import annotations

import os
import sys

from tasks.supervise import CHILD_DEFAULTS


def compute_as_stages_do() -> None:
    """Start this program again with the stages' environment unless it has it: OpenMP reads it when it is loaded."""
    if any(name not in os.environ for name in CHILD_DEFAULTS):
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**CHILD_DEFAULTS, **os.environ})
