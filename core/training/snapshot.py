"""The files that hold a run: written to a checkpoint while it lasts, and into the artifact at its end.

Tensors are saved in the dtypes they train in and never cast on the way, so going on from a file is going on.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.model import checkpoint
from core.model.checkpoint import ModelState
from core.model.transformer import Transformer
from core.stages.context import StageContext, StageError
from core.training.distributed import World
from core.training.optimizer import Optimizer
from core.training.trace import Trace

OPTIMIZER = "optimizer.safetensors"


def write(folder: Path, state: ModelState, model: Transformer, optimizer: Optimizer, trace: Trace) -> None:
    """Write weights, optimizer, state and traces into `folder`."""
    checkpoint.save(folder, state, dict(model.state_dict()))
    save_file({name: tensor.cpu().contiguous() for name, tensor in optimizer.state().items()}, folder / OPTIMIZER)
    trace.write(folder)


def load_into(folder: Path, model: Transformer, optimizer: Optimizer) -> None:
    """Overwrite weights and optimizer state with those of a model artifact or checkpoint."""
    _copy_weights(checkpoint.load_weights(folder), model, folder)
    try:
        saved = load_file(folder / OPTIMIZER)
    except (FileNotFoundError, SafetensorError) as error:
        raise StageError(f"{folder / OPTIMIZER}: cannot be read as safetensors: {error}") from None
    optimizer.load(saved)


def save_checkpoint(
    context: StageContext[Any], step: int, state: ModelState, model: Transformer, optimizer: Optimizer, trace: Trace
) -> None:
    """Hand the state before `step` to the stage's checkpoints; rank 0 only."""
    folder = context.scratch / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    write(folder, state, model, optimizer, trace)
    trace.write_clock(folder)
    context.checkpoints.save(step, folder)
    shutil.rmtree(folder)


def restore(
    context: StageContext[Any], world: World, model: Transformer, optimizer: Optimizer, trace: Trace
) -> int | None:
    """Continue from the newest checkpoint: returns its step, None when there is none.

    Rank 0 reads it, the others receive the tensors; only rank 0 keeps the trace.
    """
    saved = context.checkpoints.newest() if world.leads else None
    step = world.broadcast(-1 if saved is None else saved.step)
    if step < 0:
        return None
    if saved is not None:
        load_into(saved.path, model, optimizer)
        trace.read(saved.path)
    world.broadcast_tensors(dict(model.state_dict()))
    world.broadcast_tensors(optimizer.state())
    return step


def _copy_weights(weights: dict[str, Tensor], model: Transformer, folder: Path) -> None:
    own = model.state_dict()
    if odd := sorted(set(own) ^ set(weights)):
        raise StageError(f"{folder}: its weights do not fit this architecture: {odd[0]} is in only one of them")
    with torch.no_grad():
        for name, tensor in own.items():
            if weights[name].shape != tensor.shape:
                raise StageError(f"{folder}: {name} has shape {tuple(weights[name].shape)}, not {tuple(tensor.shape)}")
            tensor.copy_(weights[name])
