"""A trained model on disk: `model.safetensors` (its weights, flat) and `state.json` (everything needed to use them).

`use_rope` is part of the state and cannot be left out: a DroPE model loaded with positions is silently wrong.
The state is read strictly; a missing or unknown field is an error that names the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from artifacts.encoding import canonical
from core.model.architecture import Architecture
from core.model.tensors import read_tensors, write_tensors
from core.model.transformer import Transformer
from core.recipes.optimization import Optimization
from core.recipes.recipe import Direction, Precision
from core.stages.context import StageError

WEIGHTS = "model.safetensors"
STATE = "state.json"

Phase = Literal["base", "sft"]


@dataclass(frozen=True, kw_only=True)
class ModelState:
    """What a model is and how far it was trained, as of the update before `step`."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    phase: Phase
    step: int  # optimizer steps of this phase behind it
    steps: int  # N, the horizon of this phase
    use_rope: bool
    direction: Direction
    sequence_length: int  # T it was last trained at, tokens
    batch_tokens: int
    tokens_seen: int  # over all phases
    precision: Precision
    seed: int
    architecture: Architecture
    optimization: Optimization


_STATE: TypeAdapter[ModelState] = TypeAdapter(ModelState)


def save(folder: Path, state: ModelState, weights: Mapping[str, Tensor]) -> None:
    """Write both files; the same state and weights give the same bytes."""
    write_tensors(folder / WEIGHTS, weights)
    (folder / STATE).write_text(json.dumps(canonical(state), indent=2, sort_keys=True) + "\n")


def load_state(folder: Path) -> ModelState:
    """Read `state.json`; raises `StageError` naming the file and the field."""
    path = folder / STATE
    try:
        return _STATE.validate_json(path.read_bytes())
    except FileNotFoundError:
        raise StageError(f"{path}: not there, so this folder holds no model") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise StageError(f"{path}: field {field or '(root)'}: {first['msg']}") from None


def load_weights(folder: Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Read the flat state dict in the dtypes it was saved in; raises `StageError` when it cannot be read."""
    return read_tensors(folder / WEIGHTS, device)


def load_model(folder: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Transformer:
    """Build the model of a folder for inference: every weight in `dtype`, positions as `use_rope` says, eval mode."""
    state = load_state(folder)
    with torch.device("meta"):
        model = Transformer(state.architecture, use_rope=state.use_rope)
    weights = {name: tensor.to(dtype) for name, tensor in load_weights(folder, device).items()}
    model.load_state_dict(weights, assign=True)
    return model.eval()
