"""Two models that a golden study compares: one kept RoPE, the other dropped it half way."""

from __future__ import annotations

from written_evaluations import WrittenModel

KEPT = WrittenModel(name="golden-base", methods=("plain", "yarn"))
DROPPED = WrittenModel(
    name="golden_drope_50-base",
    rope_drop=0.5,
    methods=("plain", "logit-scale"),
    bits=lambda text, factor: 1100.0 * factor - 300.0 * (factor - 1) + 3 * text,
    rows=(160.0, 150.0, 172.0, 153.0, 164.0, 155.0),
    rights=lambda kind, number, factor: (number + factor) % 2 == 0,
)
