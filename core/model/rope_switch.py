"""Looking at the same weights with RoPE on or off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from core.model.transformer import Transformer


@contextmanager
def positions(model: Transformer, use_rope: bool) -> Iterator[None]:
    """While the block runs, the model reads with RoPE or without it, and keeps no gradient."""
    before = model.use_rope
    model.use_rope = use_rope
    try:
        with torch.no_grad():
            yield
    finally:
        model.use_rope = before
