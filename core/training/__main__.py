"""One rank of a training job: `torchrun ... -m core.training SPEC.json`.

A rank that fails ends at once with its exit code, without taking leave of the others: they may be inside a
collective, and torchrun stops them as soon as one process has failed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from core.stages.child import run_child
from core.stages.early_signals import exit_when_told


def main(specification: Path) -> int:
    """Join the process group, make the stage, and return the exit code."""
    from core.training.distributed import process_group  # imports torch: seconds in which a signal must find us ready

    with process_group():
        code = run_child(specification)
        if code:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return code


if __name__ == "__main__":
    exit_when_told()
    sys.exit(main(Path(sys.argv[1])))
