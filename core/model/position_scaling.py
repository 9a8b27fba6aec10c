"""How a trained model may be made to read beyond its trained length, without training: formulas, one class each.

Three of them turn RoPE's pairs more slowly, by a factor s = length to be read / trained length that holds for every
position of a text (so reading in pieces equals reading at once); b is the base, D the head width, j = 0 ... D/2 - 1,
and a plain model turns pair j by theta_j = b^(-2j/D) a position. The direction of turning is `core.model.rotary`'s and
no concern of theirs. `LogitScale` is for models without positions.

Two of them sharpen attention. Queries and keys of this family are normed after they were turned, which would undo a
factor on the rotation (where YaRN's authors put it); so it multiplies the normed query, which scales the attention
logits by as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi
from typing import Protocol

import torch
from torch import Tensor


class PositionScaling(Protocol):
    """What a model does differently at each position."""

    def frequencies(self, head_width: int, base: float, device: torch.device) -> Tensor:
        """Radians by which each pair turns from one position to the next: float64 [D/2]."""

    def query_scale(self, positions: Tensor) -> Tensor | None:
        """What multiplies the attention logits of queries at int64 positions [...]: float32 [...], or None for 1."""


def plain_frequencies(head_width: int, base: float, device: torch.device) -> Tensor:
    """theta_j = b^(-2j/D): float64 [D/2] (RoFormer, arXiv 2104.09864)."""
    exponents = torch.arange(0, head_width, 2, dtype=torch.float64, device=device) / head_width
    return base**-exponents


@dataclass(frozen=True, kw_only=True)
class PositionInterpolation:
    """theta_j / s: position m is turned like m / s (Chen et al. 2023, arXiv 2306.15595, equation 4)."""

    factor: float  # s

    def frequencies(self, head_width: int, base: float, device: torch.device) -> Tensor:
        """All pairs slowed down alike."""
        return plain_frequencies(head_width, base, device) / self.factor

    def query_scale(self, positions: Tensor) -> Tensor | None:
        """Logits as they are."""
        return None


@dataclass(frozen=True, kw_only=True)
class NtkAware:
    """A larger base, b s^(D/(D-2)): the fastest pair turns as before, the slowest s times slower.

    bloc97 2023, "NTK-Aware Scaled RoPE", as stated in arXiv 2309.00071, equation 16.
    """

    factor: float  # s

    def frequencies(self, head_width: int, base: float, device: torch.device) -> Tensor:
        """Those of the larger base."""
        return plain_frequencies(head_width, base * self.factor ** (head_width / (head_width - 2)), device)

    def query_scale(self, positions: Tensor) -> Tensor | None:
        """Logits as they are."""
        return None


@dataclass(frozen=True, kw_only=True)
class Yarn:
    """By parts, and sharper (Peng et al. 2023, arXiv 2309.00071, equations 17 to 22).

    A pair that turns r_j = T theta_j / 2 pi times over the trained length T keeps its speed above `fast` turns, is
    slowed down s times below `slow`, and between them, with g = (r_j - slow) / (fast - slow), turns by
    (1 - g) theta_j / s + g theta_j. Logits are divided by t, sqrt(1/t) = .1 ln s + 1. Some programs ramp over j instead
    of r_j; this is the paper's.
    """

    factor: float  # s
    trained_length: int  # T
    slow: float = 1.0  # alpha
    fast: float = 32.0  # beta

    def frequencies(self, head_width: int, base: float, device: torch.device) -> Tensor:
        """Slow pairs interpolated, fast ones kept."""
        plain = plain_frequencies(head_width, base, device)
        turns = self.trained_length * plain / (2 * pi)
        kept = ((turns - self.slow) / (self.fast - self.slow)).clamp(0, 1)
        return (1 - kept) * plain / self.factor + kept * plain

    def query_scale(self, positions: Tensor) -> Tensor | None:
        """1/t, at every position."""
        return torch.full(positions.shape, (0.1 * log(self.factor) + 1) ** 2, device=positions.device)


@dataclass(frozen=True, kw_only=True)
class LogitScale:
    """beta = 1 + c ln max(1, m / T) for the query at position m = 0, 1 ...: without positions, attention over more keys
    than in training is flatter, and a logit that grows with the logarithm of their number makes up for it.

    By the position of the query alone, so that a token's logits do not depend on how the tokens after it are read.
    """

    coefficient: float  # c; 0 leaves everything as it is
    trained_length: int  # T

    def frequencies(self, head_width: int, base: float, device: torch.device) -> Tensor:
        """Those of a plain model, should it have positions."""
        return plain_frequencies(head_width, base, device)

    def query_scale(self, positions: Tensor) -> Tensor | None:
        """beta of each position."""
        beyond = (positions.double() / self.trained_length).clamp_min(1.0)
        return (1 + self.coefficient * beyond.log()).float()
