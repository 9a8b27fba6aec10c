"""Validation loss during training: held-out rows, shared out over the ranks, never touching the training stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.data.direction import Way, measured_row_sets
from core.data.rows import Rows
from core.evaluation.bits_per_byte import Tally, tally_rows
from core.model.transformer import Transformer
from core.recipes.recipe import Direction
from core.stages.context import StageError
from core.training.distributed import World
from core.training.micro_batch import MicroBatch
from core.training.stopping import StopRequest

BPB_OF_WAY: Mapping[Way, str] = {"forward": "validation_bpb_forward", "backward": "validation_bpb_backward"}


@dataclass(frozen=True)
class Validation:
    """The first `count` rows of a held-out set."""

    rows: Rows
    mask: np.ndarray | None  # uint8 [rows, T+1]; None: every target counts
    token_bytes: np.ndarray  # [V]
    count: int
    micro_batch: MicroBatch  # the one of training: what fits there with gradients fits here

    @classmethod
    def of(
        cls, rows: Rows, mask: np.ndarray | None, tokenizer: Path, *, tokens: int, micro_batch: MicroBatch
    ) -> Validation:
        """Measure at most `tokens` tokens, at least one row; raises `StageError` when nothing could be measured."""
        count = min(rows.count, max(1, tokens // (rows.row_tokens - 1)))
        if count == 0 or (mask is not None and not mask[:count, 1:].any()):
            raise StageError("the validation rows hold no supervised token; make them of more documents")
        return cls(rows, mask, np.load(tokenizer / "token_bytes.npy"), count, micro_batch)

    @property
    def bytes(self) -> int:
        """Bytes of the targets that are measured."""
        targets = self.rows[: self.count][:, 1:]
        marked = 1 if self.mask is None else self.mask[: self.count, 1:] != 0
        return int((self.token_bytes[targets] * marked).sum(dtype=np.int64))

    def bits_per_byte(self, model: Transformer, world: World, stop: StopRequest) -> float:
        """The same number on every rank; raises `Stopped` between batches when a rank was asked to stop."""
        return self.tally(model, world, stop).bits_per_byte

    def tally(self, model: Transformer, world: World, stop: StopRequest) -> Tally:
        """The sums behind it, over all ranks."""
        share, batch_rows = world.share(self.count), self.micro_batch.rows
        tally = Tally()
        for batch in range(-(-self.count // (world.size * batch_rows))):
            stop.check(world)
            first = min(share.start + batch * batch_rows, share.stop)
            part = slice(first, min(first + batch_rows, share.stop))
            mask = None if self.mask is None else self.mask[part]
            tally += tally_rows(model, self.rows[part], self.token_bytes, mask=mask, batch_rows=batch_rows)
        nats, read, tokens = world.sum(tally.nats, tally.bytes, tally.tokens)
        return Tally(nats, int(read), int(tokens))


@dataclass(frozen=True)
class HeldOutDocuments:
    """What a model is measured on, in every way in which it reads documents."""

    ways: Mapping[Way, Validation]

    @classmethod
    def open(
        cls, folder: Path, direction: Direction, tokenizer: Path, *, tokens: int, micro_batch: MicroBatch
    ) -> HeldOutDocuments:
        """Measure at most `tokens` tokens in each way; raises `StageError` when the folder has no rows for one."""
        row_sets = {way: Rows.open(folder, name) for way, name in measured_row_sets(direction).items()}
        return cls(
            {
                way: Validation.of(rows, None, tokenizer, tokens=tokens, micro_batch=micro_batch)
                for way, rows in row_sets.items()
            }
        )

    @property
    def bytes(self) -> int:
        """How many bytes of text are measured, over all ways."""
        return sum(one.bytes for one in self.ways.values())

    def measure(self, model: Transformer, world: World, stop: StopRequest) -> dict[str, float]:
        """`validation_bpb` over the bytes of all ways; with two, also of each (`BPB_OF_WAY`)."""
        tallies = {way: validation.tally(model, world, stop) for way, validation in self.ways.items()}
        values = {"validation_bpb": sum(tallies.values(), Tally()).bits_per_byte}
        if len(tallies) > 1:
            values |= {BPB_OF_WAY[way]: tally.bits_per_byte for way, tally in tallies.items()}
        return values
