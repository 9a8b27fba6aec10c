"""`python -m core.stages SPEC`: make one stage in this process. torchrun uses `core.training` instead."""

from __future__ import annotations

import sys
from pathlib import Path

from core.stages.child import run_child
from core.stages.early_signals import exit_when_told

if __name__ == "__main__":
    exit_when_told()
    sys.exit(run_child(Path(sys.argv[1])))
