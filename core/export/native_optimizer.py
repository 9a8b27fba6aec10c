"""The optimizer state in the form that nanochat's `load_state_dict` takes: numbered parameters in groups.

Groups: lm_head, wte, then the matrices of each shape, shapes ascending, within one in the order of the layers. Muon has
the state of a whole group, stacked, under the number of its first matrix. Rates are those of the last step taken, so a
fine-tune that inherits them goes on from where training ended.

Stacks are files mapped into memory: no more of them is in memory than the system has room for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from core.model.checkpoint import ModelState
from core.recipes.optimization import AdamW, Muon
from core.stages.context import StageError
from core.training.schedule import Rates, finetuning_rates, pretraining_rates

ORTHOGONALIZATION_STEPS = 5
ADAMW_SLOTS = {"exp_avg": "first_moment", "exp_avg_sq": "second_moment"}
MUON_SLOTS = {"momentum_buffer": "momentum", "second_momentum_buffer": "second_moment"}


def native_optimizer(
    slots: Mapping[str, Tensor], shapes: Mapping[str, torch.Size], state: ModelState, scratch: Path
) -> dict[str, object]:
    """`{"state", "param_groups"}` from the flat `<parameter>.<slot>` tensors; raises `StageError` if one is missing.

    Files in `scratch` hold what is stacked, for as long as it is used.
    """
    rates, optimization = last_rates(state), state.optimization
    tables = {"lm_head.weight": optimization.unembedding, "transformer.wte.weight": optimization.embedding}
    states: dict[int, dict[str, object]] = {}
    groups: list[dict[str, object]] = []
    for number, (name, adamw) in enumerate(tables.items()):
        states[number] = _adamw_state(slots, name)
        groups.append({"kind": "adamw", "params": [number], **_adamw_settings(adamw, rates)})
    first = len(tables)
    for names in matrices_by_shape({name: shape for name, shape in shapes.items() if name not in tables}):
        states[first] = _muon_state(slots, names, scratch)
        numbers = list(range(first, first + len(names)))
        groups.append({"kind": "muon", "params": numbers, **_muon_settings(optimization.matrices, rates)})
        first += len(names)
    return {"state": states, "param_groups": groups}


def last_rates(state: ModelState) -> Rates:
    """Schedule values of the last step that was taken."""
    rates = {"base": pretraining_rates, "sft": finetuning_rates}[state.phase]
    return rates(state.optimization, max(0, state.step - 1), state.steps)


def matrices_by_shape(shapes: Mapping[str, torch.Size]) -> list[list[str]]:
    """Names of the matrices of each shape, shapes ascending."""
    return [[name for name, other in shapes.items() if other == shape] for shape in sorted(set(shapes.values()))]


def _adamw_state(slots: Mapping[str, Tensor], name: str) -> dict[str, object]:
    moments = {native: _slot(slots, name, slot) for native, slot in ADAMW_SLOTS.items()}
    return {"step": int(_slot(slots, name, "updates")), **moments}


def _muon_state(slots: Mapping[str, Tensor], names: list[str], scratch: Path) -> dict[str, object]:
    kept = {native: slot for native, slot in MUON_SLOTS.items() if f"{names[0]}.{slot}" in slots}
    return {
        native: stack_on_disk([_slot(slots, name, slot) for name in names], scratch / f"{names[0]}.{slot}")
        for native, slot in kept.items()
    }


def stack_on_disk(tensors: Sequence[Tensor], path: Path) -> Tensor:
    """The tensors of one shape as [K, ...] in the new file `path`; raises `StageError` when it does not fit there."""
    first = tensors[0]
    try:
        with path.open("wb") as file:  # reserved at once: a mapping that outgrows its disk ends the process
            os.posix_fallocate(file.fileno(), 0, len(tensors) * first.nbytes)
    except OSError as error:
        raise StageError(f"{path}: {error.strerror}; free {len(tensors) * first.nbytes / 1e9:.2f} GB there") from None
    flat = torch.from_file(str(path), shared=True, size=len(tensors) * first.numel(), dtype=first.dtype)
    stacked = flat.view(len(tensors), *first.shape)
    for place, tensor in zip(stacked, tensors, strict=True):
        place.copy_(tensor)
    return stacked


def _adamw_settings(adamw: AdamW, rates: Rates) -> dict[str, object]:
    return {
        "lr": adamw.peak_rate * rates.multiplier,
        "initial_lr": adamw.peak_rate,
        "betas": (adamw.beta1, adamw.beta2),
        "eps": adamw.epsilon,
        "weight_decay": adamw.weight_decay,
    }


def _muon_settings(muon: Muon, rates: Rates) -> dict[str, object]:
    return {
        "lr": muon.peak_rate * rates.multiplier,
        "initial_lr": muon.peak_rate,
        "momentum": rates.momentum,
        "ns_steps": ORTHOGONALIZATION_STEPS,
        "beta2": muon.second_moment_beta,
        "weight_decay": rates.weight_decay,
    }


def _slot(slots: Mapping[str, Tensor], name: str, slot: str) -> Tensor:
    try:
        return slots[f"{name}.{slot}"]
    except KeyError:
        raise StageError(f"the optimizer state has no {name}.{slot}; it is not of this model") from None
