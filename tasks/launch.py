"""The command line that makes one stage: a plain Python process, or torchrun with one rank per GPU.

Either is armed to receive SIGTERM when this process dies, however it dies.
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path


class Launcher(StrEnum):
    """How the process of a stage is started."""

    PROCESS = "process"
    TORCHRUN = "torchrun"


def command(launcher: Launcher, specification: Path, processes: int) -> list[str]:
    """The argument vector that runs the stage described by the file `specification`."""
    python = sys.executable
    armed = [python, "-m", "core.stages.parent_death", str(os.getpid())]
    if launcher is Launcher.PROCESS:
        return [*armed, python, "-m", "core.stages", str(specification)]
    torchrun = [python, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [*armed, *torchrun, "-m", "core.training", str(specification)]
