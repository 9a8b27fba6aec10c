"""Equal pieces (matrices of one shape, rows of a table) dealt to the ranks of a world, each owned by one of them.

Piece i belongs to rank i // ceil(count / size): the parts tile the pieces in order, and only the last ranks own fewer
than the others, or none. Collectives want equal parts, so what travels is padded with zeros that nobody reads.
A world of one owns everything, communicates nothing and copies nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.training.distributed import World


@dataclass(frozen=True)
class Shards:
    """How `count` pieces are dealt. A stack is [count, ...]; `own` is what this rank has of one, [len(owned), ...]."""

    count: int
    world: World

    @property
    def part(self) -> int:
        """Pieces of a rank, padding included."""
        return -(-self.count // self.world.size)

    @property
    def padding(self) -> int:
        """Pieces of zeros behind the last one."""
        return self.part * self.world.size - self.count

    @property
    def owned(self) -> range:
        """The pieces of this rank."""
        start = self.world.rank * self.part
        return range(min(start, self.count), min(start + self.part, self.count))

    def stack(self, chunks: Sequence[Tensor]) -> Tensor:
        """Put `chunks` [some pieces, ...], which are all pieces in order, behind one another, padded."""
        if self.padding:
            chunks = [*chunks, chunks[0].new_zeros(self.padding, *chunks[0].shape[1:])]
        return chunks[0] if len(chunks) == 1 else torch.cat(list(chunks))

    def reduce(self, padded: Tensor) -> Tensor:
        """Sum a padded stack over the ranks; returns the own pieces of the sum."""
        return self.world.reduce_scatter(padded)[: len(self.owned)]

    def all_gather(self, own: Tensor) -> Tensor:
        """The whole stack, on every rank."""
        return self.world.all_gather(self._padded(own))[: self.count]

    def gather(self, own: Tensor) -> Tensor | None:
        """The whole stack on rank 0, None on the others."""
        padded = self.world.gather_tensor(self._padded(own))
        return None if padded is None else padded[: self.count]

    def scatter(self, padded: Tensor | None, own: Tensor) -> None:
        """Overwrite `own` on every rank with its pieces of rank 0's padded stack; the others pass None."""
        received = own if len(own) == self.part else own.new_empty(self.part, *own.shape[1:])
        self.world.scatter_tensor(padded, received)
        if received is not own:
            own.copy_(received[: len(own)])

    def _padded(self, own: Tensor) -> Tensor:
        missing = self.part - len(own)
        return torch.cat([own, own.new_zeros(missing, *own.shape[1:])]) if missing else own
