"""The ranks of one job: who we are among them, and the few collectives that training needs.

A world of one has no process group and does no communication. Under torchrun (RANK, WORLD_SIZE, LOCAL_RANK in the
environment) ranks talk over NCCL when there are GPUs, gloo otherwise. A collective that waits longer than ten
minutes fails, so a rank that dies takes the job with it instead of leaving it hanging.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True)
class World:
    """One rank's view of the job."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """True on rank 0: the one that reads and writes checkpoints, logs and the artifact."""
        return self.rank == 0

    def share(self, total: int) -> range:
        """This rank's contiguous part of `total` items; the parts of all ranks tile them."""
        return range(self.rank * total // self.size, (self.rank + 1) * total // self.size)

    def sum(self, *values: float) -> tuple[float, ...]:
        """Sums over all ranks, in float64, the same everywhere."""
        return tuple(self._reduce(values, dist.ReduceOp.SUM))

    def any(self, flag: bool) -> bool:
        """True on every rank when `flag` is True on one."""
        return self._reduce((float(flag),), dist.ReduceOp.MAX)[0] > 0

    def gather(self, value: float) -> list[float]:
        """The values of all ranks, in rank order."""
        own = [value if rank == self.rank else 0.0 for rank in range(self.size)]
        return self._reduce(own, dist.ReduceOp.SUM)

    def broadcast(self, value: int) -> int:
        """Rank 0's value, on every rank."""
        return int(self._reduce((float(value) if self.leads else 0.0,), dist.ReduceOp.SUM)[0])

    def broadcast_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Overwrite every tensor with rank 0's, in place."""
        if self.size == 1:
            return
        for tensor in tensors.values():
            travelling = tensor.to(self.device)
            dist.broadcast(travelling, src=0)
            tensor.copy_(travelling)

    def sum_gradients(self, parameters: list[torch.nn.Parameter]) -> None:
        """Replace every gradient by its sum over all ranks, in one collective for each dtype."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for dtype in sorted({gradient.dtype for gradient in gradients}, key=str):
            group = [gradient for gradient in gradients if gradient.dtype == dtype]
            flat = torch.cat([gradient.flatten() for gradient in group])
            dist.all_reduce(flat)
            start = 0
            for gradient in group:
                gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
                start += gradient.numel()

    def wait_for_all(self) -> None:
        """Return once every rank has come here."""
        if self.size > 1:
            self._reduce((0.0,), dist.ReduceOp.SUM)

    def _reduce(self, values: tuple[float, ...] | list[float], operation: dist.ReduceOp.RedOpType) -> list[float]:
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, operation)
        return [float(value) for value in tensor.tolist()]


def current_world() -> World:
    """The world this process is in: the process group's if there is one, else a world of one."""
    if dist.is_initialized():
        local = int(os.environ.get("LOCAL_RANK", "0"))
        return World(dist.get_rank(), dist.get_world_size(), _device(local))
    return World(0, 1, _device(0))


@contextmanager
def process_group() -> Iterator[World]:
    """Join the process group that torchrun describes; leave it in order, unless the body fails.

    After a failure the other ranks may be inside a collective: waiting for them would hang, so the group is
    left to the process's end, which they notice.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield current_world()
        return
    device = _device(int(os.environ["LOCAL_RANK"]))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    yield current_world()
    dist.destroy_process_group()


def _device(local_rank: int) -> torch.device:
    return torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")
