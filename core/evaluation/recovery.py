"""How a model recovered from the loss of RoPE, as its training measured it: the points behind `recovery.svg`.

Read from the model's own trace. The ends of the curve are measured again, on more text and with intervals, by the base
suite: `rope_at_drop` and `rope_at_end`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

TRACE = "metrics.jsonl"  # as `core.training.trace` writes it


@dataclass(frozen=True, kw_only=True)
class RecoveryPoint:
    """Bits per byte without RoPE, so many optimizer steps after the drop."""

    steps: int
    bits_per_byte: float


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """The curve; every point is of the same held-out rows."""

    drop_step: int
    with_rope: float  # bits per byte of the same weights with RoPE, at the drop
    sample_size: int | None  # bytes of each point; None where training did not record it
    sample_unit: str
    points: tuple[RecoveryPoint, ...]


def read_recovery(model: Path) -> Recovery | None:
    """The recovery of a recalibrated model; None of any other."""
    path = model / TRACE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    measured = [record for record in map(json.loads, lines) if "validation_bpb" in record]
    drop = next((record for record in measured if "drop_bpb_with_rope" in record), None)
    if drop is None:
        return None
    return Recovery(
        drop_step=drop["step"],
        with_rope=drop["drop_bpb_with_rope"],
        sample_size=drop.get("drop_validation_bytes"),
        sample_unit="bytes",
        points=tuple(
            RecoveryPoint(steps=record["step"] - drop["step"], bits_per_byte=record["validation_bpb"])
            for record in measured
        ),
    )
