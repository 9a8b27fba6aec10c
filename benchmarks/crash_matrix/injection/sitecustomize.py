"""Python imports this at every start where this folder is on PYTHONPATH: the processes of a case, and no other."""

from __future__ import annotations

from benchmarks.crash_matrix.injected import install

install()
