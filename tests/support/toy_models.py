"""A toy transformer whose weights are nowhere zero, so that no layer is silent in a comparison."""

from __future__ import annotations

import torch

from core.model.architecture import Architecture
from core.model.transformer import Transformer


def toy_transformer(architecture: Architecture, *, use_rope: bool = True) -> Transformer:
    """The usual initialisation with seed 1; projections that start at zero are drawn from N(0, 1/fan_in), seed 2."""
    model = Transformer(architecture, use_rope=use_rope)
    model.initialize(seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "c_proj" in name or "lm_head" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[1] ** 0.5)
    return model
