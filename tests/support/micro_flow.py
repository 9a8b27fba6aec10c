"""The pipeline flow with the micro family in its table: what a worker loads in tests."""

from __future__ import annotations

import micro_miniseries

micro_miniseries.register()

from flows.pipeline import pipeline  # noqa: E402 -- its parameter lists the tags that are registered when it is imported

__all__ = ["pipeline"]
