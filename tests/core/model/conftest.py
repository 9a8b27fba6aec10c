"""A toy architecture in all its variants, with weights that are nowhere zero."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_models import toy_transformer

from core.model.architecture import Architecture
from core.model.transformer import Transformer

sys.path.insert(0, str(Path(__file__).parent))  # tests import `reference` by name

TOY = Architecture(
    depth=2,
    width=32,
    heads=4,
    key_value_heads=4,
    head_width=8,
    mlp="swiglu",
    mlp_width=48,
    vocabulary_size=50,
    sequence_length=12,
    rope_base=10_000.0,
    logit_softcap=15.0,
    norm_epsilon=1e-6,
    normalize_embedding=False,
)


@pytest.fixture
def toy() -> Architecture:
    """Two layers, four heads of 8, SwiGLU."""
    return TOY


@pytest.fixture
def build() -> Callable[..., Transformer]:
    """`build(architecture, use_rope)` returns a model whose projections are not at their initial zero."""

    def make(architecture: Architecture, use_rope: bool = True) -> Transformer:
        return toy_transformer(architecture, use_rope=use_rope)

    return make
