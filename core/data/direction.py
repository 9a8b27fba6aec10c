"""The direction seam: how the tokens of one document become the sequence that is packed.

A policy is chosen by the recipe's `direction` and may draw on its seed; packing knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.data.tokenizer import Tokenizer
from core.recipes.recipe import Direction
from core.stages.context import StageError

DirectionPolicy = Callable[[Sequence[int]], list[int]]  # tokens of one document -> sequence, BOS first


def direction_policy(direction: Direction, tokenizer: Tokenizer) -> DirectionPolicy:
    """Return the policy called `direction`; raise `StageError` for one that this version does not have."""
    if direction == "forward":
        return lambda tokens: [tokenizer.bos, *tokens]
    raise StageError(f"packing has no direction policy {direction!r} yet; only 'forward' is available")
