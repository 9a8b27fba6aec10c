"""Keys and values of the tokens read so far, so that one more token costs one column of attention.

Rows of a cache have lengths of their own; a forward pass reads on in some neighbouring rows, through a `CacheWindow`.
Reading in pieces equals reading at once: keys are stored after rotation and norm, a position's rotation depends only
on its index, and what stands in a row beyond its length is masked. All memory is taken at the start, so that a pass
which fits once always fits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from core.model.architecture import Architecture
from core.model.position_scaling import PositionScaling
from core.model.rotary import Rotation, rotation


class KeyValueCache:
    """Room for `capacity` tokens in each of `rows` rows."""

    def __init__(
        self,
        architecture: Architecture,
        *,
        rows: int,
        capacity: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        scaling: PositionScaling | None = None,
    ) -> None:
        shape = (architecture.depth, rows, capacity, architecture.key_value_heads, architecture.head_width)
        # Zeros, not empty memory: a masked value has weight 0, and 0 x NaN is NaN.
        self.keys = torch.zeros(shape, device=device, dtype=dtype)  # [L, rows, capacity, Hkv, D]
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.capacity = capacity
        self.lengths = [0] * rows  # tokens behind each row: the position of its next one
        self.scaling = scaling  # that of the model which reads through it
        self.rotation = rotation(
            0, capacity, architecture.head_width, architecture.rope_base, torch.device(device), scaling
        )  # of every position

    def window(self, first: int, counts: Sequence[int]) -> CacheWindow:
        """Begin a pass over rows [first, first + len(counts)), each of which reads `counts[i]` more tokens.

        Raises ValueError when they do not fit.
        """
        return CacheWindow(self, first, counts)

    def move(self, source: int, target: int) -> None:
        """Let row `target` be what row `source` is, and empty `source`."""
        length = self.lengths[source]
        self.keys[:, target, :length] = self.keys[:, source, :length]
        self.values[:, target, :length] = self.values[:, source, :length]
        self.lengths[target] = length
        self.clear(source)

    def rewind(self, row: int, length: int) -> None:
        """Forget what row `row` read beyond its first `length` tokens. Raises ValueError when it has not so many."""
        if not 0 <= length <= self.lengths[row]:
            raise ValueError(f"row {row} has read {self.lengths[row]} tokens, it cannot go back to {length}")
        self.lengths[row] = length

    def clear(self, row: int) -> None:
        """Forget what row `row` has read."""
        self.lengths[row] = 0


class CacheWindow:
    """One forward pass over B neighbouring rows: what its layers have in common, computed once.

    The pass reads tokens [B, T] with T the largest count; what a row has beyond its own count is padding, read by
    nobody and overwritten by the row's next tokens.
    """

    def __init__(self, cache: KeyValueCache, first: int, counts: Sequence[int]) -> None:
        end, length = first + len(counts), max(counts)
        behind = cache.lengths[first:end]
        reach = max(behind) + length
        if reach > cache.capacity:
            raise ValueError(f"the key-value cache holds {cache.capacity} tokens, {reach} are needed: make it larger")
        self._cache, self._first, self._counts = cache, first, tuple(counts)
        self._rows, self._reach = slice(first, end), reach
        self._from_nothing = reach == length
        self.scaling = cache.scaling
        device = cache.keys.device
        starts = torch.tensor(behind, device=device).unsqueeze(1)  # [B, 1]
        self.positions = starts + torch.arange(length, device=device)  # [B, T]
        row_starts = torch.arange(first, end, device=device).unsqueeze(1) * cache.capacity
        self._places = (row_starts + self.positions).flatten()  # [B T] in rows laid end to end
        self.mask = None if self._from_nothing or (length == 1 and min(behind) == max(behind)) else self._mask()

    def _mask(self) -> Tensor:
        """True where a token may look: bool [B, 1, T, reach]."""
        columns = torch.arange(self._reach, device=self.positions.device)
        return (columns <= self.positions.unsqueeze(-1)).unsqueeze(1)

    def rotation(self) -> Rotation:
        """The rotation of every token of the pass, float32 [B, T, 1, D]."""
        table = self._cache.rotation
        return Rotation(table.cosine[self.positions], table.sine[self.positions])

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store keys and values [B, T, Hkv, D] of a layer; return those of all tokens so far [B, reach, Hkv, D]."""
        for stored, new in ((self._cache.keys, keys), (self._cache.values, values)):
            stored[layer].flatten(0, 1).index_copy_(0, self._places, new.flatten(0, 1))
        if self._from_nothing:
            return keys, values
        return (
            self._cache.keys[layer, self._rows, : self._reach],
            self._cache.values[layer, self._rows, : self._reach],
        )

    def advance(self) -> None:
        """Count the tokens as read, once every layer has stored its own."""
        for row, count in enumerate(self._counts, start=self._first):
            self._cache.lengths[row] += count
