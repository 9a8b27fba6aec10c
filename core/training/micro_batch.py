"""How many rows one forward pass takes: as many as fit, found by halving, never part of what a model is.

The batch is fixed by the recipe; the micro-batch only says in how many pieces its gradient is added up. It begins at
65,536 tokens (16 rows of 4,096, as the seed series had) and is halved whenever a device runs out of memory while a
gradient is being made: 16, 8, 4, 2, 1. A checkpoint remembers it, because the order of additions decides the last bits.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass

import torch

MICRO_BATCH_TOKENS = 65_536


@dataclass
class MicroBatch:
    """Rows of one forward pass, at present."""

    rows: int

    @classmethod
    def fitting(cls, sequence_length: int, asked: int | None) -> MicroBatch:
        """The number of rows that was asked for, or 65,536 tokens' worth of rows of `sequence_length`."""
        return cls(asked or max(1, MICRO_BATCH_TOKENS // sequence_length))

    def parts(self, share: range) -> list[range]:
        """Cut a rank's rows of a step into micro-batches, in order."""
        return [range(first, min(first + self.rows, share.stop)) for first in range(share.start, share.stop, self.rows)]

    def halve(self, largest_share: int) -> None:
        """Take half as many rows as the largest piece had on the rank with most rows, so that all ranks go on alike."""
        self.rows = max(1, min(self.rows, largest_share) // 2)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed: torch has a type for it on accelerators, and a plain RuntimeError on CPUs."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def release_memory(device: torch.device) -> None:
    """Give cached blocks back, so that smaller pieces are not cut out of what the larger ones left behind.

    An error that came from another thread holds the frames that it passed, and so their tensors, in a cycle.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
