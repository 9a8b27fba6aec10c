"""Make the golden stages of some kinds (default: all) and write their fingerprints: `measure.py FILE [KIND ...]`.

A process of its own, because a stage is one: training fixes torch's global numerics, and the Hub's client reads its
environment once.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from golden_stages import measure

from core.stages.kind import StageKind


def main(target: str, *kinds: str) -> None:
    """Measure one kind after another, each from inputs of its own."""
    found = {}
    for kind in map(StageKind, kinds) if kinds else StageKind:
        with TemporaryDirectory(prefix="miniseries-golden-") as root:
            found[kind.value] = measure(kind, Path(root))
    Path(target).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
