"""How much the long_context stage reads, known before it starts and without loading a model.

Counted are the texts whose bits per byte are measured, the needles' prompts, and the texts on which a logit scale is
fitted. Not counted: what is read and written behind a prompt (a few dozen tokens after thousands), and the benchmarks
of others, whose number of questions is known only once their data are here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from core.recipes.recipe import LongContext

NEEDLE_KINDS = 5  # `needles.KINDS`
METHODS_WITH_ROPE = 4  # `methods.Methods.at` beyond the trained length: plain, and three that scale positions
METHODS_WITHOUT_ROPE = 2  # plain, and the logit scale
FITTING_TRIES = 13  # coefficients that `logit_scale_fit` tries: 7 of a grid, and 6 of a search with 5 sections


@dataclass(frozen=True, kw_only=True)
class Reading:
    """So many texts of one length, each read from its first token to its last."""

    length: int  # tokens
    texts: int


def readings(measured: LongContext, trained_length: int, *, use_rope: bool) -> Iterator[Reading]:
    """What one model reads: at each length, once for each method; then for the fit, which a model with RoPE lacks."""
    texts = measured.documents + NEEDLE_KINDS * measured.needle_trials
    beyond = METHODS_WITH_ROPE if use_rope else METHODS_WITHOUT_ROPE
    for factor in measured.factors:
        yield Reading(length=factor * trained_length, texts=texts * (1 if factor == 1 else beyond))
    greatest = measured.factors[-1]
    if not use_rope and greatest > 1:
        yield Reading(length=greatest * trained_length, texts=measured.fitting_documents * FITTING_TRIES)
