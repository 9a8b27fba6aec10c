"""Rotary position embedding (RoFormer, arXiv 2104.09864): query-key products depend on relative position only.

Two conventions decide whether weights mean the same elsewhere, and both are nanochat's:
- half-split: component j pairs with component j + D/2, not with its neighbour;
- rotation by -theta: y1 = x1 cos + x2 sin, y2 = -x1 sin + x2 cos, the transpose of the Hugging Face Llama direction.

Angles are products of float64, and their cosines float32, whatever the model computes in: at position 131,071
an angle in bfloat16 would be off by whole turns. They are made anew for each forward pass, outside its compiled graph:
.2 ms of a 90 ms step of the tiny model, a dozen small kernels on a GPU. Nothing is kept, so nothing leaks into a state
dict, and no pass can leave another the wrong length.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.model.position_scaling import PositionScaling, plain_frequencies


@dataclass(frozen=True)
class Rotation:
    """Factors of positions, float32: [T, 1, D], the same in every row of a batch, or [B, T, 1, D]."""

    cosine: Tensor  # of the angle of pair j, at j and at j + D/2
    sine: Tensor  # likewise, negated at j + D/2


def rotation(
    start: int,
    count: int,
    head_width: int,
    base: float,
    device: torch.device,
    scaling: PositionScaling | None = None,
) -> Rotation:
    """Return the rotation of positions [start, start + count): angle of pair j is position * base^(-2j/D), or other."""
    frequencies = (plain_frequencies if scaling is None else scaling.frequencies)(head_width, base, device)
    positions = torch.arange(start, start + count, dtype=torch.float64, device=device)
    angles = torch.outer(positions, frequencies).unsqueeze(1)  # [T, 1, D/2]
    cosine, sine = angles.cos().float(), angles.sin().float()
    return Rotation(torch.cat((cosine, cosine), dim=-1), torch.cat((sine, -sine), dim=-1))


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Rotate x [B, T, H, D] by -theta; a bfloat16 input comes back as float32, for the norm that follows."""
    partners = x.roll(x.size(-1) // 2, dims=-1)
    return x * by.cosine + partners * by.sine
