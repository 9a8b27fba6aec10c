"""The real command line with one more family, `crash`: two short training stages, and checkpoints after every step.

python -m benchmarks.crash_matrix.program export crash_drope_25 --layout native --phase base
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from core.recipes.table import recipes
from flows.command_line import main

SUPPORT = Path(__file__).parents[2] / "tests" / "support"  # where the micro recipes are
TRUNK = "crash"
STEPS = 100
TAG = "crash_drope_25"  # what the runs of all cases make: the base in the native layout
DELIVERABLE = "native-base"
TAGS = ("tiny", "tiny_drope_25", "tiny_drope_50", "tiny_drope_75")


def register() -> None:
    """Add the family to the table of this process: `crash`, `crash_drope_25`, and so on."""
    sys.path.insert(0, str(SUPPORT))
    micro = importlib.import_module("micro_miniseries")
    for tag in TAGS:
        small = micro.shrunk(recipes()[tag], TRUNK, STEPS)
        recipes()[small.tag] = small


if __name__ == "__main__":
    register()
    main()
