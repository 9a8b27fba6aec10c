"""Bits per byte: how well a model predicts text, in a unit that no tokenizer can flatter.

bpb = sum of nats / (ln 2 * sum of bytes), both over the supervised targets that stand for bytes: special tokens
(0 bytes) and ignored targets count for neither. Sums are float64 and integers, so shares of one set may be added
in any order of machines; the model's mode and its random state are left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, nan

import numpy as np
import torch
from torch import Tensor

from core.model.loss import IGNORED, next_token_nats, split_rows
from core.model.transformer import Transformer


@dataclass(frozen=True)
class Tally:
    """Sums over some targets; add tallies to measure a larger set."""

    nats: float = 0.0
    bytes: int = 0
    tokens: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.nats + other.nats, self.bytes + other.bytes, self.tokens + other.tokens)

    @property
    def bits_per_byte(self) -> float:
        """Bits that the model needs for a byte of text; not a number when no byte was measured."""
        return self.nats / (log(2) * self.bytes) if self.bytes else nan


def tally_batch(model: Transformer, inputs: Tensor, targets: Tensor, token_bytes: Tensor) -> Tally:
    """Measure one forward pass over inputs and targets [B, T]; `token_bytes` is int64 [V] on the model's device."""
    lengths = torch.where(targets == IGNORED, 0, token_bytes[targets.clamp_min(0)])
    nats = next_token_nats(model, inputs, targets)
    counted = lengths > 0
    total = torch.where(counted, nats, 0.0).sum(dtype=torch.float64)
    return Tally(total.item(), int(lengths.sum()), int(counted.sum()))


def tally_rows(
    model: Transformer,
    rows: np.ndarray,
    token_bytes: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    batch_rows: int = 16,
) -> Tally:
    """Measure rows [n, T+1], `batch_rows` at a time; with a mask [n, T+1], only the targets where it is 1."""
    lengths = torch.from_numpy(token_bytes.astype(np.int64)).to(model.device)
    tally = Tally()
    for start in range(0, len(rows), batch_rows):
        part = slice(start, start + batch_rows)
        inputs, targets = split_rows(rows[part], None if mask is None else mask[part])
        tally += tally_batch(model, inputs.to(model.device), targets.to(model.device), lengths)
    return tally


def bits_per_byte(
    model: Transformer,
    rows: np.ndarray,
    token_bytes: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    batch_rows: int = 16,
) -> float:
    """Bits per byte of rows [n, T+1]; not a number when they hold no byte to predict."""
    return tally_rows(model, rows, token_bytes, mask=mask, batch_rows=batch_rows).bits_per_byte
