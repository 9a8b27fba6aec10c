"""The weights of a checkpoint as this family's state dict: names, shapes and dtypes checked, padding cut off.

Nothing is cast: every tensor has the bytes it had. The file is mapped, not read into memory, and may hold tensors only.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.export.source import parameter_shapes
from core.model.architecture import Architecture
from core.stages.context import StageError

COMPILED = "_orig_mod."  # what torch.compile puts before every name
DTYPES = (torch.float32, torch.bfloat16)
TABLES = ("transformer.wte.weight", "lm_head.weight")  # may be padded to a multiple of 64 tokens
NEWER = {
    "value_embeds": "value embeddings",
    "ve_gate": "value embeddings",
    "resid_lambdas": "scaled residuals",
    "x0_lambdas": "residuals of the embedding",
    "smear": "smeared embeddings",
    "backout": "a backout of the middle layer",
}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The flat state dict in a `.pt` file, without the prefix of compiled models; raises `StageError` otherwise."""
    loaded = load_tensors_only(path)
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise StageError(f"{path}: holds no flat state dict of tensors")
    tensors = {str(name).removeprefix(COMPILED): tensor for name, tensor in loaded.items()}
    for name, tensor in tensors.items():
        if newer := next((what for part, what in NEWER.items() if part in name), None):
            raise StageError(f"{path}: {name} says that the model has {newer}, of newer nanochat; no model here has")
        if tensor.dtype not in DTYPES:
            raise StageError(f"{path}: {name} is {tensor.dtype}; float32 and bfloat16 can be adopted")
    return tensors


def fit(tensors: Mapping[str, Tensor], architecture: Architecture, path: Path) -> dict[str, Tensor]:
    """The tensors of this architecture, tables cut to its vocabulary; raises `StageError` for the first that is off."""
    shapes = parameter_shapes(architecture)
    if odd := sorted(set(tensors) ^ set(shapes)):
        where = "is missing" if odd[0] in shapes else "has no place in this architecture"
        raise StageError(f"{path}: tensor {odd[0]} {where}")
    fitted = {name: cut(tensor, shapes[name]) if name in TABLES else tensor for name, tensor in tensors.items()}
    for name, tensor in fitted.items():
        if tensor.shape != shapes[name]:
            raise StageError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, this architecture gives it {tuple(shapes[name])}"
            )
    return fitted


def cut(table: Tensor, shape: torch.Size) -> Tensor:
    """`table` without rows beyond those of `shape`: padding that no token uses."""
    return table[: shape[0]] if table.shape[1:] == shape[1:] else table


def load_tensors_only(path: Path) -> Any:
    """`torch.load` that maps the file and runs nothing of it; raises `StageError` when it wants more than tensors."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise StageError(f"{path}: cannot be read as tensors: {reason}") from None
