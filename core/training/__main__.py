"""One rank of a training job: `torchrun ... -m core.training SPEC.json`.

A rank that fails ends at once with its exit code, without taking leave of the others: they may be inside a
collective, and torchrun stops them as soon as one process has failed. A rank that succeeds takes leave of them and then
ends at once too: while the interpreter is taken down, gloo's threads may still want it, which aborts the process after
all its work was done (seen once in some hundred runs of two ranks: "terminate called without an active exception").
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from core.stages.child import run_child
from core.stages.early_signals import exit_when_told


def main(specification: Path) -> NoReturn:
    """Join the process group, make the stage, and end the process with the exit code."""
    from core.training.distributed import process_group  # imports torch: seconds in which a signal must find us ready

    with process_group():
        code = run_child(specification)
        if code:
            _end(code)
    _end(code)


def _end(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    exit_when_told()
    main(Path(sys.argv[1]))
