"""Rows to train on that every Python carries: the bytes of its standard library, one token a byte."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import numpy as np


def library_rows(count: int, row_tokens: int) -> np.ndarray:
    """The first `count` rows uint8 [count, row_tokens] of the sources in name order; from the first again at the end.

    Every value is below 256, so any vocabulary of the project has it.
    """
    wanted, pieces, found = count * row_tokens, [], 0
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        if found >= wanted:
            break
        pieces.append(np.frombuffer(path.read_bytes(), dtype=np.uint8))
        found += len(pieces[-1])
    return np.resize(np.concatenate(pieces), (count, row_tokens))
