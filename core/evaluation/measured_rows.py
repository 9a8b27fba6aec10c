"""What a model needs for each row of a set: the raw numbers behind bits per byte, one line a row in `rows.jsonl`.

    bits per byte = sum of bits / sum of bytes, over all rows

A line is {"set", "way", "row", "bits", "bytes", "old_bytes", "tokens"}: `way` is forward, backward, or mixed where each
document was read in its own; `tokens` are the targets that stand for bytes; `old_bytes` is by the old table of token
lengths. Models of one family read the same rows, so two of them are compared in pairs of (set, way, row).
Intervals are over rows, which were drawn with their documents (`core.evaluation.resampling`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import log
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from core.data.direction import Way
from core.data.rows import Rows
from core.evaluation.measurement import Measurement
from core.evaluation.old_token_bytes import old_token_bytes
from core.evaluation.resampling import ratio_interval
from core.evaluation.subject import Subject
from core.model.loss import next_token_nats, split_rows
from core.stages.context import StageError

BATCH_ROWS = 16

Sums = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredRows:
    """Sums over each of n rows of one set."""

    set: str  # validation, train, or how the model was changed
    way: Way | Literal["mixed"]
    bits: Sums  # [n]
    bytes: Counts  # [n]
    old_bytes: Counts  # [n]
    tokens: Counts  # [n]
    documents: Counts  # [n], that begin in the row, cropped ones included

    def __add__(self, other: MeasuredRows) -> MeasuredRows:
        """The same rows read in both ways, row by row."""
        return replace(
            self,
            way="mixed",
            bits=self.bits + other.bits,
            bytes=self.bytes + other.bytes,
            old_bytes=self.old_bytes + other.old_bytes,
            tokens=self.tokens + other.tokens,
            documents=self.documents + other.documents,
        )

    @property
    def has_old_bytes(self) -> bool:
        """Whether the two tables of token lengths differ on these rows."""
        return bool((self.bytes != self.old_bytes).any())

    def bits_per_byte(self, seed: int) -> Measurement:
        """Bits per byte over all rows."""
        return bits_per_byte(self.bits, self.bytes, seed)

    def old_bits_per_byte(self, seed: int) -> Measurement:
        """The same by the old table of token lengths."""
        return bits_per_byte(self.bits, self.old_bytes, seed)

    def counts(self) -> dict[str, int]:
        """How much was read."""
        sums = {name: int(getattr(self, name).sum()) for name in ("documents", "tokens", "bytes", "old_bytes")}
        return {"rows": len(self.bits), **sums}

    def first(self, count: int, set_name: str) -> MeasuredRows:
        """The first `count` rows as a set of their own."""
        return MeasuredRows(
            set=set_name,
            way=self.way,
            bits=self.bits[:count],
            bytes=self.bytes[:count],
            old_bytes=self.old_bytes[:count],
            tokens=self.tokens[:count],
            documents=self.documents[:count],
        )

    def lines(self) -> Iterator[str]:
        """JSON lines, a row each."""
        columns = (self.bits, self.bytes, self.old_bytes, self.tokens)
        for row, (bits, size, old_size, tokens) in enumerate(zip(*(one.tolist() for one in columns), strict=True)):
            record = {"set": self.set, "way": self.way, "row": row, "bits": bits}
            yield json.dumps({**record, "bytes": size, "old_bytes": old_size, "tokens": tokens}) + "\n"


def bits_per_byte(bits: Sums, sizes: Counts, seed: int) -> Measurement:
    """sum(bits) / sum(sizes) over rows [n], with an interval where there are two rows.

    Raises `StageError` when there is no byte to predict.
    """
    total = int(sizes.sum())
    if not total:
        raise StageError("the rows hold no byte to predict; give them more documents")
    return Measurement(
        value=float(bits.sum()) / total,
        unit="bits per byte",
        sample_size=total,
        sample_unit="bytes",
        interval=ratio_interval(bits, sizes.astype(np.float64), seed),
    )


def measure_rows(
    subject: Subject,
    rows: Rows,
    count: int,
    *,
    set_name: str,
    way: Way | Literal["mixed"],
    masks: Rows | None = None,
) -> MeasuredRows:
    """Measure the first `count` rows; with masks, only the targets marked 1. The model reads as it now does."""
    tables = (subject.tokenizer.token_bytes, old_token_bytes(subject.tokenizer))
    sums: list[tuple[Sums, Counts, Counts, Counts, Counts]] = []
    for start in range(0, count, BATCH_ROWS):
        part = slice(start, min(start + BATCH_ROWS, count))
        batch, mask = rows[part], None if masks is None else masks[part]
        marked = np.ones_like(batch) if mask is None else mask
        lengths, old_lengths = (table[batch[:, 1:]].astype(np.int64) * (marked[:, 1:] != 0) for table in tables)
        inputs, targets = (one.to(subject.model.device) for one in split_rows(batch, mask))
        nats = next_token_nats(subject.model, inputs, targets)  # [B, T]
        counted = torch.from_numpy(lengths > 0).to(nats.device)
        bits = torch.where(counted, nats, 0.0).sum(dim=1, dtype=torch.float64).cpu().numpy() / log(2)
        documents = (batch[:, :-1] == subject.tokenizer.bos).sum(axis=1)
        sums.append((bits, lengths.sum(axis=1), old_lengths.sum(axis=1), (lengths > 0).sum(axis=1), documents))
    bits, sizes, old_sizes, tokens, documents = (np.concatenate(column) for column in zip(*sums, strict=True))
    return MeasuredRows(
        set=set_name, way=way, bits=bits, bytes=sizes, old_bytes=old_sizes, tokens=tokens, documents=documents
    )
