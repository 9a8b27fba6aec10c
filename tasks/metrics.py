"""Numbers of a manifest as people read them; a number that was not measured reads as a dash, never as zero."""

from __future__ import annotations

from collections.abc import Mapping


def number(metrics: Mapping[str, object], name: str) -> str:
    """A count with thousands separators."""
    value = metrics.get(name)
    return f"{value:,.0f}" if isinstance(value, (int, float)) else "-"


def decimal(metrics: Mapping[str, object], name: str) -> str:
    """A measurement with four decimals."""
    value = metrics.get(name)
    return f"{value:.4f}" if isinstance(value, (int, float)) else "-"
