"""Keys and values of the tokens read so far, so that one more token costs one column of attention.

Prefill and one-token decoding equal the full forward pass: keys are stored after rotation and norm, and a
position's rotation depends only on its index.
"""

from __future__ import annotations

import torch
from torch import Tensor

from core.model.architecture import Architecture


class KeyValueCache:
    """Fixed room for `capacity` tokens of `batch` sequences of equal length; one per generation."""

    def __init__(
        self,
        architecture: Architecture,
        *,
        batch: int,
        capacity: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (architecture.depth, batch, architecture.key_value_heads, capacity, architecture.head_width)
        self.keys = torch.empty(shape, device=device, dtype=dtype)  # [L, B, Hkv, capacity, D]
        self.values = torch.empty(shape, device=device, dtype=dtype)
        self.capacity = capacity
        self.length = 0  # tokens behind us: the position of the next one

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store keys and values [B, Hkv, T, D] of the next T tokens; return those of all tokens so far.

        Raises ValueError when they do not fit. `advance` moves on, once every layer has stored its own.
        """
        end = self.length + keys.size(2)
        if end > self.capacity:
            raise ValueError(f"the key-value cache holds {self.capacity} tokens, {end} are needed: make it larger")
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def advance(self, tokens: int) -> None:
        """Count `tokens` as read by all layers."""
        self.length += tokens
