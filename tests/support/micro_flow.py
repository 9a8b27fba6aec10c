"""The flows with the micro families in their table: what a worker loads in tests."""

from __future__ import annotations

import micro_miniseries

micro_miniseries.register()

from flows.gpu_job import gpu_job  # noqa: E402
from flows.miniseries import miniseries  # noqa: E402 -- parameters list the tags that are registered at the import
from flows.pipeline import pipeline  # noqa: E402

__all__ = ["gpu_job", "miniseries", "pipeline"]
