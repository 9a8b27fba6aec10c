"""The crash matrix: point of death x number of competing runs, and what must hold afterwards.

`python -m benchmarks.crash_matrix --help`; the table it wrote last is `docs/crash-matrix.md`.
"""
