"""The flow of the GPU pool with the `crash` family in its table: what the worker of a case loads."""

from __future__ import annotations

from benchmarks.crash_matrix.program import register

register()

from flows.gpu_job import gpu_job  # noqa: E402 -- its parameters are checked against the tags that are registered

__all__ = ["gpu_job"]
