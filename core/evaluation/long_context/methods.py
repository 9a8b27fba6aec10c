"""How a model is made to read so many times its trained length: the ways that are compared, by name.

A model that kept RoPE: plain, position interpolation, NTK-aware and YaRN, each with the factor of the length it reads.
One without: plain, and with its attention logits scaled, by a coefficient that was fitted to it. Within the trained
length there is nothing to extend.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from core.model.position_scaling import LogitScale, NtkAware, PositionInterpolation, PositionScaling, Yarn
from core.model.transformer import Transformer


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


PLAIN = Method("plain", None)


@dataclass(frozen=True, kw_only=True)
class Methods:
    """The ways of one model; `logit_scale` is None where it has RoPE, or where nothing could be fitted."""

    use_rope: bool
    trained_length: int
    logit_scale: LogitScale | None

    def at(self, factor: int) -> tuple[Method, ...]:
        """Those at `factor` times the trained length, plain first."""
        if factor == 1:
            return (PLAIN,)
        if self.use_rope:
            return (
                PLAIN,
                Method("position-interpolation", PositionInterpolation(factor=factor)),
                Method("ntk-aware", NtkAware(factor=factor)),
                Method("yarn", Yarn(factor=factor, trained_length=self.trained_length)),
            )
        return (PLAIN,) if self.logit_scale is None else (PLAIN, Method("logit-scale", self.logit_scale))
