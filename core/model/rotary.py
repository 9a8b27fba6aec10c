"""Rotary position embedding (RoFormer, arXiv 2104.09864): query-key products depend on relative position only.

Two conventions decide whether weights mean the same elsewhere, and both are nanochat's:
- half-split: component j pairs with component j + D/2, not with its neighbour;
- rotation by -theta: y1 = x1 cos + x2 sin, y2 = -x1 sin + x2 cos, the transpose of the Hugging Face Llama direction.

Angles are products of float64, and their cosines float32, whatever the model computes in: at position 131,071
an angle in bfloat16 would be off by whole turns. Nothing is cached, so nothing can leak into a state dict.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rotation:
    """Cosines and sines of T positions, float32 [T, 1, D/2]: broadcast over batch and heads."""

    cosine: Tensor
    sine: Tensor


def rotation(start: int, count: int, head_width: int, base: float, device: torch.device) -> Rotation:
    """Return the rotation of positions [start, start + count): angle of pair j is position * base^(-2j/D)."""
    exponents = torch.arange(0, head_width, 2, dtype=torch.float64, device=device) / head_width
    positions = torch.arange(start, start + count, dtype=torch.float64, device=device)
    angles = torch.outer(positions, base**-exponents).unsqueeze(1)  # [T, 1, D/2]
    return Rotation(angles.cos().float(), angles.sin().float())


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Rotate x [B, T, H, D] by -theta; a bfloat16 input comes back as float32, for the norm that follows."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * by.cosine + second * by.sine, second * by.cosine - first * by.sine), dim=-1)
