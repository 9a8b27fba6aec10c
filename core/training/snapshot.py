"""The files that hold a run: written to a checkpoint while it lasts, and into the artifact at its end.

    model.safetensors, state.json    weights in the dtypes they train in, and what they are (`use_rope` included)
    optimizer.safetensors            the whole optimizer state by parameter, whatever the number of ranks was
    loss.jsonl, metrics.jsonl        everything recorded so far
    resume.json, clock.json, random.safetensors     checkpoints only: stream position, micro-batch, ranks, times, RNG

Tensors are never cast on the way, so going on from a file is going on. Rank 0 reads and writes; the others receive.
Training draws no random number after initialisation; the generators' states are kept so that a stage which
draws one day resumes exactly too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from artifacts.encoding import canonical
from core.model import checkpoint
from core.model.checkpoint import ModelState
from core.model.tensors import read_tensors, write_tensors
from core.model.transformer import Transformer
from core.stages.context import StageContext, StageError
from core.training.distributed import World
from core.training.optimizer import Optimizer
from core.training.trace import Trace

OPTIMIZER, RESUME, RANDOM = "optimizer.safetensors", "resume.json", "random.safetensors"


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where an unfinished run stands, besides its tensors."""

    rows_read: int  # of the stream, before the next step
    micro_batch_rows: int
    world_size: int


_POSITION: TypeAdapter[Position] = TypeAdapter(Position)


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The whole state of a run before `step`."""

    step: int
    state: ModelState
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    trace: Trace
    position: Position

    def with_tensors(self, weights: Mapping[str, Tensor], optimizer: Mapping[str, Tensor]) -> Snapshot:
        """The same state, of other memory, with a trace that no longer grows."""
        return replace(self, weights=weights, optimizer=optimizer, trace=self.trace.copy())

    def write(self, folder: Path) -> None:
        """Write a checkpoint's files."""
        write(folder, self.state, self.weights, self.optimizer, self.trace)
        self.trace.write_clock(folder)
        (folder / RESUME).write_text(json.dumps(canonical(self.position)) + "\n")
        write_tensors(folder / RANDOM, _random_states())


def write(
    folder: Path, state: ModelState, weights: Mapping[str, Tensor], optimizer: Mapping[str, Tensor], trace: Trace
) -> None:
    """Write weights, optimizer, state and traces into `folder`: what an artifact holds."""
    checkpoint.save(folder, state, weights)
    write_tensors(folder / OPTIMIZER, optimizer)
    trace.write(folder)


def load_into(folder: Path, world: World, model: Transformer, optimizer: Optimizer) -> None:
    """Overwrite weights and optimizer state on every rank with those of a model artifact or checkpoint."""
    saved = None
    if world.leads:
        _copy_weights(checkpoint.load_weights(folder), model, folder)
        saved = read_tensors(folder / OPTIMIZER)
    world.broadcast_tensors(dict(model.state_dict()))
    optimizer.load(saved)


def restore(
    context: StageContext[Any], world: World, model: Transformer, optimizer: Optimizer, trace: Trace
) -> tuple[int, Position] | None:
    """Continue from the newest checkpoint: returns its step and position, None when there is none.

    Only rank 0 keeps the trace.
    """
    saved = context.checkpoints.newest() if world.leads else None
    step = world.broadcast(-1 if saved is None else saved.step)
    if step < 0:
        return None
    folder, position = context.scratch, Position(rows_read=0, micro_batch_rows=0, world_size=0)
    if saved is not None:
        folder, position = saved.path, _POSITION.validate_json((saved.path / RESUME).read_bytes())
        trace.read(folder)
        _set_random_states(read_tensors(folder / RANDOM))
    load_into(folder, world, model, optimizer)
    agreed = [world.broadcast(value) for value in (position.rows_read, position.micro_batch_rows, position.world_size)]
    return step, Position(rows_read=agreed[0], micro_batch_rows=agreed[1], world_size=agreed[2])


def _random_states() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _set_random_states(states: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def _copy_weights(weights: dict[str, Tensor], model: Transformer, folder: Path) -> None:
    own = model.state_dict()
    if odd := sorted(set(own) ^ set(weights)):
        raise StageError(f"{folder}: its weights do not fit this architecture: {odd[0]} is in only one of them")
    with torch.no_grad():
        for name, tensor in own.items():
            if weights[name].shape != tensor.shape:
                raise StageError(f"{folder}: {name} has shape {tuple(weights[name].shape)}, not {tuple(tensor.shape)}")
            tensor.copy_(weights[name])
