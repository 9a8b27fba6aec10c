"""How the next token is chosen from logits.

A choice is a function of one row of logits, its `Sampling` and one number drawn from the request's own generator: what
else is in the batch, and on which device, does not enter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Temperature 0 takes the likeliest token; otherwise one is drawn from softmax(logits / temperature).

    `top_k` limits the draw to the k likeliest, `top_p` then to the fewest of these that together have that share of
    what they all have. Raises ValueError for a value out of range.
    """

    max_tokens: int
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens is {self.max_tokens}, but must be at least 1")
        if not (isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"temperature is {self.temperature}, but must be a number from 0 upwards")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k is {self.top_k}, but must be at least 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}, but must be above 0 and at most 1")

    @property
    def is_greedy(self) -> bool:
        """Whether nothing is drawn."""
        return self.temperature == 0

    @property
    def is_limited(self) -> bool:
        """Whether some tokens are never chosen."""
        return self.top_k is not None or self.top_p is not None


def choose(logits: Tensor, samplings: Sequence[Sampling], draws: Sequence[float]) -> list[int]:
    """One id for each row of logits [B, V]; `draws` are uniform in [0, 1), and unused where a row is greedy."""
    chosen = logits.argmax(dim=-1)
    rows = [row for row, sampling in enumerate(samplings) if not sampling.is_greedy]
    if rows:
        drawn = [samplings[row] for row in rows]
        chosen[rows] = _invert(_probabilities(logits[rows], drawn), [draws[row] for row in rows])
    ids: list[int] = chosen.tolist()
    return ids


def _probabilities(logits: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """What each id is drawn with, float64 [B, V]; rows need not sum to 1."""
    temperatures = _column(logits, [sampling.temperature for sampling in samplings])
    centred = logits.double() - logits.max(dim=-1, keepdim=True).values  # no temperature makes 0 overflow
    probabilities = (centred / temperatures).softmax(dim=-1)
    rows = [row for row, sampling in enumerate(samplings) if sampling.is_limited]
    if rows:
        probabilities[rows] = _limit(probabilities[rows], [samplings[row] for row in rows])
    return probabilities


def _limit(probabilities: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """Probabilities [B, V] with 0 for what `top_k` and `top_p` exclude; of equals, lower ids come first."""
    vocabulary = probabilities.size(-1)
    largest, ids = probabilities.sort(dim=-1, descending=True, stable=True)
    top_k = _column(largest, [sampling.top_k or vocabulary for sampling in samplings])
    largest = largest.where(torch.arange(vocabulary, device=largest.device) < top_k, 0.0)
    share = _column(largest, [1.0 if sampling.top_p is None else sampling.top_p for sampling in samplings])
    likelier = largest.cumsum(dim=-1) - largest  # what the ids before this one have together
    unlimited = _column(largest, [sampling.top_p is None for sampling in samplings]).bool()
    kept = largest.where(unlimited | (likelier < share * largest.sum(dim=-1, keepdim=True)), 0.0)
    return torch.zeros_like(probabilities).scatter(-1, ids, kept)


def _invert(probabilities: Tensor, draws: Sequence[float]) -> Tensor:
    """The id at which the cumulative sum of probabilities [B, V] passes a draw's share of the whole: int64 [B]."""
    cumulative = probabilities.cumsum(dim=-1)
    whole = cumulative[:, -1:].contiguous()
    target = _column(probabilities, draws) * whole
    below = torch.nextafter(whole, torch.zeros_like(whole))  # a product may round up to the whole
    return torch.searchsorted(cumulative, target.minimum(below), right=True).squeeze(-1)


def _column(like: Tensor, values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, device=like.device).unsqueeze(-1)
