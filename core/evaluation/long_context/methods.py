"""How a model is made to read so many times its trained length: the ways that are compared, by name.

A model that kept RoPE: plain, position interpolation, NTK-aware and YaRN, each with the factor of the length it reads.
One without: plain, and with its attention logits scaled, by a coefficient that was fitted to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from core.model.position_scaling import LogitScale, NtkAware, PositionInterpolation, PositionScaling, Yarn
from core.model.transformer import Transformer

PLAIN = "plain"


@dataclass(frozen=True)
class Method:
    """A name, and what it does to positions."""

    name: str
    scaling: PositionScaling | None

    @contextmanager
    def applied(self, model: Transformer) -> Iterator[None]:
        """The model reads this way for as long as the block runs."""
        before, model.scaling = model.scaling, self.scaling
        try:
            yield
        finally:
            model.scaling = before


def rope_methods(factor: int, trained_length: int) -> tuple[Method, ...]:
    """Those of a model with RoPE; within its trained length there is nothing to extend."""
    plain = Method(PLAIN, None)
    if factor == 1:
        return (plain,)
    return (
        plain,
        Method("position-interpolation", PositionInterpolation(factor=factor)),
        Method("ntk-aware", NtkAware(factor=factor)),
        Method("yarn", Yarn(factor=factor, trained_length=trained_length)),
    )


def logit_methods(factor: int, scale: LogitScale | None) -> tuple[Method, ...]:
    """Those of a model without RoPE; `scale` is None where nothing could be fitted."""
    plain = Method(PLAIN, None)
    return (plain,) if factor == 1 or scale is None else (plain, Method("logit-scale", scale))
