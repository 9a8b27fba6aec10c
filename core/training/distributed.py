"""The ranks of one job: who we are among them, and the few collectives that training needs.

A world of one has no process group and does no communication. Under torchrun (RANK, WORLD_SIZE, LOCAL_RANK in the
environment) ranks talk over NCCL when there are GPUs, gloo otherwise, by the same calls: gloo of torch 2.13 was tried
and has reduce-scatter, all-gather, gather and scatter of equal parts too, for float32 and bfloat16.

When a rank dies, torchrun ends the others, and the first outcome written is the cause. Over gloo a waiting rank fails
within a second. Over NCCL it may wait in a kernel, deaf to SIGTERM; torchrun kills it 30 seconds later. NCCL's
own settings are left as they are: on an error that NCCL does notice, the process ends without tidying up, which is
right when the job is lost. A collective that waits for ten minutes fails, on whatever machine the silent rank was.
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

    def broadcast_text(self, text: str) -> str:
        """Rank 0's text, on every rank."""
        if self.size == 1:
            return text
        carried = [text]
        dist.broadcast_object_list(carried, src=0, device=self.device)
        return carried[0]

    def all_reduce(self, tensor: Tensor) -> None:
        """Replace `tensor` by its sum over all ranks."""
        if self.size > 1:
            dist.all_reduce(tensor)

    def reduce_scatter(self, stack: Tensor) -> Tensor:
        """Sum `stack` [size * part, ...] over all ranks; returns this rank's part of the sum [part, ...]."""
        if self.size == 1:
            return stack
        part = stack.new_empty(len(stack) // self.size, *stack.shape[1:])
        dist.reduce_scatter_single(part, stack.contiguous())
        return part

    def all_gather(self, part: Tensor) -> Tensor:
        """The parts [part, ...] of all ranks behind one another [size * part, ...], on every rank."""
        if self.size == 1:
            return part
        stack = part.new_empty(self.size * len(part), *part.shape[1:])
        dist.all_gather_single(stack, part.contiguous())
        return stack

    def gather_tensor(self, part: Tensor) -> Tensor | None:
        """The parts of all ranks behind one another on rank 0, None on the others."""
        if self.size == 1:
            return part
        stack = part.new_empty(self.size * len(part), *part.shape[1:]) if self.leads else None
        dist.gather(part.contiguous(), None if stack is None else list(stack.chunk(self.size)), dst=0)
        return stack

    def scatter_tensor(self, stack: Tensor | None, part: Tensor) -> None:
        """Fill `part` with this rank's part of rank 0's `stack` [size * part, ...]; the others give None."""
        if self.size > 1:
            parts = None if stack is None else list(stack.to(part).contiguous().chunk(self.size))
            dist.scatter(part, parts, src=0)
        elif stack is not None:
            part.copy_(stack)

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
    _number_by_place()
    device = _device(int(os.environ["LOCAL_RANK"]))
    if device.type == "cuda":
        torch.cuda.set_device(device)
        # With its device named, NCCL connects here: what is wrong with it fails before the stage and not inside it.
        dist.init_process_group("nccl", timeout=TIMEOUT, device_id=device)
    else:
        dist.init_process_group("gloo", timeout=TIMEOUT)
    yield current_world()
    dist.destroy_process_group()


def _number_by_place() -> None:
    """Number this rank by the place of its machine (tasks.machines), which torchrun orders by address.

    So rank 0 is on the machine that supervises, whatever the machines are called.
    """
    if (place := os.environ.get("MINISERIES_PLACE")) is not None:
        before = int(place) * int(os.environ["LOCAL_WORLD_SIZE"])
        os.environ["RANK"] = str(before + int(os.environ["LOCAL_RANK"]))


def _device(local_rank: int) -> torch.device:
    return torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")
