"""The optimizer state of a nanochat checkpoint, taken apart: the inverse of `core.export.native_optimizer`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.adoption.weights import cut, load_tensors_only
from core.export.native_optimizer import ADAMW_SLOTS, MUON_SLOTS, matrices_by_shape
from core.stages.context import StageError

TABLES = ("lm_head.weight", "transformer.wte.weight")  # one group each, in this order


def read_slots(path: Path, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """`<parameter>.<slot>` -> tensor; raises `StageError` when the state is not of a model with these parameters."""
    loaded = load_tensors_only(path)
    matrices = matrices_by_shape({name: shape for name, shape in shapes.items() if name not in TABLES})
    try:
        groups, states = loaded["param_groups"], loaded["state"]
        if [group["kind"] for group in groups] != ["adamw"] * len(TABLES) + ["muon"] * len(matrices):
            raise ValueError("its groups are not lm_head, embedding, and the matrices of each shape")
        first = [states[group["params"][0]] for group in groups]
        slots = dict(_table_slots(first[: len(TABLES)], shapes))
        for names, state in zip(matrices, first[len(TABLES) :], strict=True):
            slots |= _matrix_slots(names, state)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise StageError(
            f"{path}: is not the optimizer state of this model ({type(error).__name__}: {error}); "
            "move it away to adopt the model without it"
        ) from None
    return slots


def _table_slots(states: list[Any], shapes: Mapping[str, torch.Size]) -> Iterator[tuple[str, Tensor]]:
    for name, state in zip(TABLES, states, strict=True):
        for native, slot in ADAMW_SLOTS.items():
            yield f"{name}.{slot}", _checked(cut(state[native], shapes[name]), shapes[name], name)
        yield f"{name}.updates", torch.tensor(int(state["step"]))


def _matrix_slots(names: list[str], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    kept = {slot: state[native] for native, slot in MUON_SLOTS.items() if native in state}
    for slot, stacked in kept.items():
        if len(stacked) != len(names):
            raise ValueError(f"{slot} is of {len(stacked)} matrices, the model has {len(names)} of that shape")
    return {f"{name}.{slot}": stacked[place] for slot, stacked in kept.items() for place, name in enumerate(names)}


def _checked(tensor: Tensor, shape: torch.Size, name: str) -> Tensor:
    if tensor.shape != shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, not {tuple(shape)}")
    return tensor
