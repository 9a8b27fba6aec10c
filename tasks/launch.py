"""The command line that makes one stage: a plain Python process, or torchrun with one rank per GPU.

Either is armed to receive SIGTERM when this process dies, however it dies. On several machines each has a torchrun of
its own, and they gather at the rendezvous (see `tasks.machines`).
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path

from core.stages.kind import StageKind
from tasks.machines import Place

RANKED = frozenset({StageKind.PRETRAIN, StageKind.RECALIBRATE, StageKind.SFT, StageKind.LONG_SFT})


class Launcher(StrEnum):
    """How the process of a stage is started."""

    PROCESS = "process"
    TORCHRUN = "torchrun"


def launcher_of(kind: StageKind) -> Launcher:
    """How stages of `kind` are started: those that train have ranks."""
    return Launcher.TORCHRUN if kind in RANKED else Launcher.PROCESS


def command(launcher: Launcher, specification: Path, processes: int, place: Place | None = None) -> list[str]:
    """The argument vector that runs the stage described by the file `specification`, or this machine's part of it."""
    python = sys.executable
    armed = [python, "-m", "core.stages.parent_death", str(os.getpid())]
    if launcher is Launcher.PROCESS:
        return [*armed, python, "-m", "core.stages", str(specification)]
    gathering = ["--standalone"] if place is None else place.gathering()
    torchrun = [python, "-m", "torch.distributed.run", *gathering, f"--nproc-per-node={processes}"]
    return [*armed, *torchrun, "-m", "core.training", str(specification)]
