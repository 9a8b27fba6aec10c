"""The weights a model starts from: a function of architecture and seed, the same on every device.

Draws are made on the CPU in float32 from one explicit generator, in the order of the parameters, then copied to
where the parameter lives. Two families, told apart by the norm after the embedding, which arrived and left with
them in nanochat's history:
- the miniseries (nanochat 4e1694c): wte N(0, .8), lm_head N(0, .001), q k v uniform with std 1/sqrt(n), the MLP's
  inputs at .4 of that, every projection back into the residual stream 0;
- the bidirectional d20 (nanochat 4a87a0d): wte N(0, 1), matrices N(0, sigma) with
  sigma = min(1, sqrt(out/in)) / sqrt(in), lm_head and every projection back 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import sqrt

import torch
from torch import Tensor

from core.model.architecture import Architecture

Draw = Callable[[str, torch.Size, torch.Generator], Tensor]


def initialization(architecture: Architecture) -> Draw:
    """Choose the family's draw for an architecture."""
    return draw_scaled_normal if architecture.normalize_embedding else draw_uniform


def initialize(parameters: Iterable[tuple[str, Tensor]], architecture: Architecture, seed: int) -> None:
    """Overwrite every named parameter with its initial value."""
    draw = initialization(architecture)
    generator = torch.Generator("cpu").manual_seed(seed)
    with torch.no_grad():
        for name, parameter in parameters:
            parameter.copy_(draw(name, parameter.shape, generator))


def draw_uniform(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Initial value of one parameter of the miniseries, by its name."""
    match name.split(".")[-2]:
        case "wte":
            return torch.randn(shape, generator=generator) * 0.8
        case "lm_head":
            return torch.randn(shape, generator=generator) * 0.001
        case "c_proj":
            return torch.zeros(shape)
        case "c_q" | "c_k" | "c_v":
            bound = sqrt(3 / shape[1])  # uniform on +-sqrt(3) sigma has standard deviation sigma
        case "w_gate" | "w_up" | "c_fc":
            bound = 0.4 * sqrt(3 / shape[1])
        case _:
            raise ValueError(f"no initial value is defined for parameter {name}")
    return (2 * torch.rand(shape, generator=generator) - 1) * bound


def draw_scaled_normal(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Initial value of one parameter of the bidirectional d20, by its name."""
    match name.split(".")[-2]:
        case "wte":
            return torch.randn(shape, generator=generator)
        case "lm_head" | "c_proj":
            return torch.zeros(shape)
        case _:
            outputs, inputs = shape
            return torch.randn(shape, generator=generator) * (min(1.0, sqrt(outputs / inputs)) / sqrt(inputs))
