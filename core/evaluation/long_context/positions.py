"""Bits per byte by position: how well a token is predicted, by how many tokens stand before it.

A bucket is a range of positions; edges lie at fractions and multiples of the trained length, closer where it ends. What
is kept of each text and bucket is its sum of nats and of bytes, so that the table can be made again by hand:

    bits per byte of a bucket = sum of nats / (ln 2 x sum of bytes), over all texts

Its interval is the 95 % percentile interval of 1,000 bootstrap samples of texts, which are what was drawn at random:
tokens of one text are not independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log

import numpy as np
import numpy.typing as npt

from core.evaluation.long_context.reading import long_nats
from core.evaluation.measurement import Measurement
from core.evaluation.resampling import ratio_interval
from core.model.transformer import Transformer

EDGES = (0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # in trained lengths


@dataclass(frozen=True, kw_only=True)
class BucketRecord:
    """One text in positions [first, end): one raw line. Special tokens stand for no bytes and are not counted."""

    method: str
    factor: int  # length / trained length
    text: int  # its number among those of this length
    first: int
    end: int
    nats: float
    bytes: int
    tokens: int


def bucket_edges(trained_length: int, length: int) -> list[int]:
    """Where buckets of a text of `length` tokens begin, and where the last ends."""
    edges = {round(edge * trained_length) for edge in EDGES}
    return [*sorted(edge for edge in edges if edge < length), length]


def measure_texts(
    model: Transformer, texts: npt.NDArray[np.int64], token_bytes: np.ndarray, trained_length: int, method: str
) -> list[BucketRecord]:
    """Read texts [n, L+1] as the model now reads; one record for each text and bucket."""
    length = texts.shape[1] - 1
    nats, sizes = long_nats(model, texts), token_bytes[texts[:, 1:]].astype(np.int64)  # [n, L]
    edges = bucket_edges(trained_length, length)
    return [
        BucketRecord(
            method=method,
            factor=length // trained_length,
            text=text,
            first=first,
            end=end,
            nats=float(nats[text, first:end][sizes[text, first:end] > 0].sum()),
            bytes=int(sizes[text, first:end].sum()),
            tokens=int((sizes[text, first:end] > 0).sum()),
        )
        for text in range(len(texts))
        for first, end in pairwise(edges)
    ]


def bits_per_byte(records: Sequence[BucketRecord], seed: int) -> Measurement | None:
    """Over all records; None where they hold no byte, and without an interval where there is but one text."""
    nats, sizes = _sums_by_text(records)
    if not sizes.sum():
        return None
    return Measurement(
        value=float(nats.sum() / (log(2) * sizes.sum())),
        unit="bits per byte",
        sample_size=int(sizes.sum()),
        sample_unit="bytes",
        interval=ratio_interval(nats, log(2) * sizes.astype(np.float64), seed),
    )


def _sums_by_text(records: Sequence[BucketRecord]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    sums: dict[int, tuple[float, int]] = {}
    for record in records:
        nats, size = sums.get(record.text, (0.0, 0))
        sums[record.text] = (nats + record.nats, size + record.bytes)
    values = list(sums.values())
    return np.array([nats for nats, _ in values]), np.array([size for _, size in values], np.int64)


def buckets(records: Sequence[BucketRecord]) -> Mapping[tuple[str, int, int, int], list[BucketRecord]]:
    """Records by method, factor and range of positions, in the order they were measured."""
    found: dict[tuple[str, int, int, int], list[BucketRecord]] = {}
    for record in records:
        found.setdefault((record.method, record.factor, record.first, record.end), []).append(record)
    return found
