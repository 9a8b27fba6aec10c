"""A toy model stepped by several ranks, each in a process of its own, over gloo: what they did comes back.

The gradient of a step is a sum over rows, and a rank has the sum over its rows, as in training. Rows are drawn, not
computed by a backward pass, so that what ranks disagree on is the optimizer's doing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from torch import Tensor

from core.model.transformer import Transformer
from core.recipes.tiny import ARCHITECTURE as TINY
from core.recipes.tiny import OPTIMIZATION
from core.stages.context import StageError
from core.training.distributed import World, current_world
from core.training.optimizer import Optimizer
from core.training.schedule import Rates

Scenario = Callable[[World], Any]  # picklable

# Two matrices of one shape over three ranks leave one rank without any; 64 rows over three ranks need padding.
TOY = replace(TINY, width=32, heads=2, key_value_heads=1, head_width=16, mlp_width=48, vocabulary_size=64)
ROWS = (6, 5, 1, 4)  # of each step; the one row of step 2 belongs to the last rank, others have no gradient then
SCALES = (1.0, 0.5, 1.0, 0.25)  # of the gradient of each step


def toy(world: World, dtype: torch.dtype = torch.float32) -> tuple[Transformer, Optimizer]:
    """The model and its optimizer at step 0; `dtype` is that of wte and of the orthogonalisation."""
    model = Transformer(TOY)
    model.transformer.wte.to(dtype)
    generator = torch.Generator().manual_seed(7)
    for parameter in model.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
    return model, Optimizer(model, OPTIMIZATION, world)


def rates(step: int) -> Rates:
    """Different in every step."""
    return Rates(multiplier=1 / (1 + step), momentum=0.85 + 0.02 * step, weight_decay=0.2)


def row_gradient(parameter: Tensor, index: int, step: int, row: int) -> Tensor:
    """What a row adds to the gradient of parameter number `index`; in bfloat16 an eighth's multiple: sums are exact."""
    drawn = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1000 * index + 10 * step + row))
    return drawn if parameter.dtype == torch.float32 else ((8 * drawn).round() / 8).to(parameter.dtype)


def make_gradients(model: Transformer, world: World, step: int) -> None:
    """Give every parameter the sum over this rank's rows, or none if it has no rows."""
    for index, parameter in enumerate(model.parameters()):
        rows = [row_gradient(parameter, index, step, row) for row in world.share(ROWS[step])]
        parameter.grad = torch.stack(rows).sum(0) if rows else None


def take_steps(model: Transformer, optimizer: Optimizer, world: World, steps: range) -> list[float]:
    """Take `steps`; returns the gradient norms."""
    norms = []
    for step in steps:
        make_gradients(model, world, step)
        norms.append(optimizer.reduce_gradients())
        optimizer.step(rates(step), SCALES[step])
    return norms


@dataclass(frozen=True)
class Trajectory:
    """One rank's view of some steps."""

    norms: list[float]
    parameters: dict[str, Tensor]
    state: dict[str, Tensor]  # of all ranks, on rank 0
    held: int  # numbers of state in this rank's memory

    @property
    def sha256(self) -> str:
        """Of norms, parameters and state."""
        digest = hashlib.sha256(repr(self.norms).encode())
        for name, tensor in [*sorted(self.parameters.items()), *sorted(self.state.items())]:
            digest.update(name.encode() + tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def look(model: Transformer, optimizer: Optimizer, norms: list[float]) -> Trajectory:
    """A copy of everything as it is now."""
    held = sum(tensor.numel() for group in optimizer.groups for tensor in group.state.values())
    parameters = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return Trajectory(norms, parameters, {name: tensor.clone() for name, tensor in optimizer.state().items()}, held)


def undisturbed(world: World, steps: int = len(ROWS), dtype: torch.dtype = torch.float32) -> Trajectory:
    """The first `steps` steps."""
    model, optimizer = toy(world, dtype)
    return look(model, optimizer, take_steps(model, optimizer, world, range(steps)))


def continued(world: World, saved: Trajectory) -> Trajectory:
    """The steps behind a trajectory, of whatever world, in a process that did not take it."""
    model, optimizer = toy(world)
    model.load_state_dict(saved.parameters)
    optimizer.load(saved.state if world.leads else None)
    return look(model, optimizer, take_steps(model, optimizer, world, range(len(saved.norms), len(ROWS))))


def interrupted_halfway(world: World) -> Trajectory:
    """All steps, the second half of them with a model and an optimizer that know the first half from its state only."""
    first = undisturbed(world, len(ROWS) // 2)
    second = continued(world, first)
    return replace(second, norms=first.norms + second.norms)


def refusal(world: World) -> str:
    """What loading a state says that lacks an entry on rank 0."""
    _, optimizer = toy(world)
    state = optimizer.state()
    state.pop("lm_head.weight.updates", None)
    try:
        optimizer.load(state if world.leads else None)
    except StageError as error:
        return str(error)
    return "nothing"


def discarded(world: World) -> tuple[bool, list[float]]:
    """Whether gradients are gone once discarded, reduced or not; then the norms of the first steps."""
    model, optimizer = toy(world)
    make_gradients(model, world, 3)
    optimizer.discard_gradients()
    gone = all(parameter.grad is None for parameter in model.parameters())
    make_gradients(model, world, 3)
    optimizer.reduce_gradients()
    optimizer.discard_gradients()
    return gone, take_steps(model, optimizer, world, range(2))


def run_ranks(folder: Path, size: int, scenarios: dict[str, Scenario]) -> list[dict[str, Any]]:
    """Call every scenario with the world on `size` ranks; returns what each returned, by name, rank by rank."""
    folder.mkdir()
    processes.spawn(_rank, (size, folder, scenarios), nprocs=size)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(size)]


def _rank(rank: int, size: int, folder: Path, scenarios: dict[str, Scenario]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=size)
    results = {name: scenario(current_world()) for name, scenario in scenarios.items()}
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()
