"""What tells the models of one family apart; everything else, a family decides for all of them."""

from __future__ import annotations

from dataclasses import dataclass

from core.model.architecture import Architecture
from core.recipes.optimization import Optimization
from core.recipes.recipe import Corpus


@dataclass(frozen=True, kw_only=True)
class Member:
    """The parameters of one model of a family."""

    tag: str
    trunk: str
    architecture: Architecture
    corpus: Corpus
    steps: int  # N
    batch_tokens: int  # B
    optimization: Optimization  # of pretraining
    rope_drop: float | None
    long: bool  # whether there is a fine-tune at twice the sequence length
