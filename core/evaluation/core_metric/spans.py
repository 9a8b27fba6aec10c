"""How likely a model finds the end of a sequence, given what stands before it: many at once, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.evaluation.batches import batches_by_length
from core.model.transformer import Transformer

BATCH_TOKENS = 16_384  # in one pass, padding included
LOGIT_POSITIONS = 1_024  # whose logits are in memory at once: 134 MB at V = 32,768


@dataclass(frozen=True)
class Span:
    """Tokens of which those from `start` on are measured; 1 <= start < len(tokens)."""

    tokens: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class Likelihood:
    """Of the measured tokens: sum of log p in nats, how many they are, and whether each is the likeliest."""

    log_likelihood: float
    tokens: int
    likeliest: bool


def likelihoods(model: Transformer, spans: Sequence[Span]) -> list[Likelihood]:
    """One for each span, in order. What stands behind a sequence in its batch cannot be seen from it."""
    found: dict[int, Likelihood] = {}
    for batch in batches_by_length([len(span.tokens) for span in spans], BATCH_TOKENS):
        found |= zip(batch, _of_batch(model, [spans[index] for index in batch]), strict=True)
    return [found[index] for index in range(len(spans))]


@torch.inference_mode()
def _of_batch(model: Transformer, spans: Sequence[Span]) -> list[Likelihood]:
    longest = max(len(span.tokens) for span in spans)
    padded = [[*span.tokens, *[0] * (longest - len(span.tokens))] for span in spans]  # attention is causal
    tokens = torch.tensor(padded, device=model.device)  # [B, T]
    measured = [(row, position) for row, span in enumerate(spans) for position in range(span.start, len(span.tokens))]
    rows, positions = torch.tensor(measured, device=model.device).unbind(1)  # [M]
    hidden = model.hidden(tokens)[rows, positions - 1]  # [M, n]
    log_p, likeliest = _log_probabilities(model, hidden, tokens[rows, positions])
    sizes = [len(span.tokens) - span.start for span in spans]
    return [
        Likelihood(float(of_span.sum()), size, bool(hits.all()))
        for of_span, hits, size in zip(torch.split(log_p, sizes), torch.split(likeliest, sizes), sizes, strict=True)
    ]


def _log_probabilities(model: Transformer, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Log p float64 [M] of each target after its hidden [M, n], and whether no token is likelier; on the CPU."""
    values, hits = [], []
    for part, wanted in zip(*(torch.split(each, LOGIT_POSITIONS) for each in (hidden, targets)), strict=True):
        logits = model.logits(part)  # [m, V]
        values.append(logits.log_softmax(-1).gather(1, wanted[:, None])[:, 0].double().cpu())
        hits.append((logits.argmax(-1) == wanted).cpu())
    return torch.cat(values), torch.cat(hits)
