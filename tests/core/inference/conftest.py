"""A toy model whose logits are far from uniform."""

from __future__ import annotations

import pytest
import torch

from core.model.architecture import Architecture
from core.model.transformer import Transformer

ARCHITECTURE = Architecture(
    depth=2,
    width=32,
    heads=4,
    key_value_heads=2,
    head_width=8,
    mlp="swiglu",
    mlp_width=48,
    vocabulary_size=40,
    sequence_length=24,
    rope_base=10_000.0,
    logit_softcap=15.0,
    norm_epsilon=1e-6,
    normalize_embedding=False,
)


@pytest.fixture(scope="session", params=[True, False], ids=["rope", "no-rope"])
def model(request: pytest.FixtureRequest) -> Transformer:
    """Random weights, none of them zero."""
    model = Transformer(ARCHITECTURE, use_rope=request.param)
    model.initialize(seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "c_proj" in name or "lm_head" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[1] ** 0.5)
    return model.eval()
