"""Input that never stalls a step: while the device works on one micro-batch, a thread reads and pins the next.

Two pinned buffers are alive at a time, the one in use and the one being read; the copy to the device is queued
behind the work before it, so no one waits for it. What is read depends on the row numbers alone: a guess that
turns out wrong (the first rows after a resume, a smaller micro-batch) is thrown away. Nothing is read ahead from where
the stage ends, since that may be in a group of rows that nobody needs.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from core.training.batches import Batches

Pair = tuple[Tensor, Tensor]  # inputs and targets, int64 [rows, T]


class Prefetcher:
    """Reads micro-batches of `batches` for one device, one ahead, as far as row `end` (None: there is no end)."""

    def __init__(self, batches: Batches, device: torch.device, end: int | None = None) -> None:
        self._batches = batches
        self._device = device
        self._end = end
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="rows")
        self._ahead: tuple[range, Future[Pair]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.shutdown(cancel_futures=True)

    def get(self, rows: range, following: range) -> Pair:
        """Rows `rows` on the device; begins to read `following`. Raises what the reading raised."""
        ahead, self._ahead = self._ahead, None
        reading = ahead[1] if ahead is not None and ahead[0] == rows else self._reader.submit(self._read, rows)
        inputs, targets = reading.result()
        if self._end is None or following.start < self._end:
            self._ahead = following, self._reader.submit(self._read, following)
        return inputs.to(self._device, non_blocking=True), targets.to(self._device, non_blocking=True)

    def _read(self, rows: range) -> Pair:
        inputs, targets = self._batches.read(rows.start, len(rows))
        if self._device.type == "cuda":
            return inputs.contiguous().pin_memory(), targets.contiguous().pin_memory()
        return inputs, targets
