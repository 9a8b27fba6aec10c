"""Validation loss during training: held-out rows, shared out over the ranks, never touching the training stream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from core.data.rows import Rows
from core.evaluation.bits_per_byte import Tally, tally_rows
from core.model.transformer import Transformer
from core.stages.context import StageError
from core.training.distributed import World
from core.training.stopping import StopRequest


@dataclass(frozen=True)
class Validation:
    """The first `count` rows of a held-out set."""

    rows: Rows
    mask: np.ndarray | None  # uint8 [rows, T+1]; None: every target counts
    token_bytes: np.ndarray  # [V]
    count: int
    batch_rows: int  # rows of one forward pass

    @classmethod
    def of(
        cls, rows: Rows, mask: np.ndarray | None, tokenizer: Path, *, tokens: int, batch_rows: int | None
    ) -> Validation:
        """Measure at most `tokens` tokens, at least one row; raises `StageError` when nothing could be measured."""
        count = min(rows.count, max(1, tokens // (rows.row_tokens - 1)))
        if count == 0 or (mask is not None and not mask[:count, 1:].any()):
            raise StageError("the validation rows hold no supervised token; make them of more documents")
        return cls(rows, mask, np.load(tokenizer / "token_bytes.npy"), count, batch_rows or 16)

    def bits_per_byte(self, model: Transformer, world: World, stop: StopRequest) -> float:
        """The same number on every rank; raises `Stopped` between batches when a rank was asked to stop."""
        share = world.share(self.count)
        tally = Tally()
        for batch in range(-(-self.count // (world.size * self.batch_rows))):
            stop.check(world)
            first = min(share.start + batch * self.batch_rows, share.stop)
            part = slice(first, min(first + self.batch_rows, share.stop))
            mask = None if self.mask is None else self.mask[part]
            tally += tally_rows(model, self.rows[part], self.token_bytes, mask=mask, batch_rows=self.batch_rows)
        nats, read, tokens = world.sum(tally.nats, tally.bytes, tally.tokens)
        return Tally(nats, int(read), int(tokens)).bits_per_byte


@contextmanager
def positions(model: Transformer, use_rope: bool) -> Iterator[None]:
    """Look at the same weights with RoPE on or off while the block runs."""
    before = model.use_rope
    model.use_rope = use_rope
    try:
        with torch.no_grad():
            yield
    finally:
        model.use_rope = before
