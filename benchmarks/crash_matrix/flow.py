"""The flows with the `crash` family in their table: what the workers of a case load."""

from __future__ import annotations

from benchmarks.crash_matrix.program import register

register()

from flows.gpu_job import gpu_job  # noqa: E402 -- its parameters are checked against the tags that are registered
from flows.pipeline import pipeline  # noqa: E402

__all__ = ["gpu_job", "pipeline"]
