"""Checkpoints that cost a step almost nothing: a copy in host memory, everything else in the background.

The training thread gathers the state and copies it (d20: 3.9 GB, into buffers that are pinned once); a thread writes
it to local disk, hashes it, uploads it and declares it. One checkpoint is under way at a time: one that is due
meanwhile waits for the next opportunity. A store that is away for a while costs a warning, since the checkpoint
before is still there; a lost lease or a full local disk ends the run.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from artifacts.errors import StoreUnavailable
from core.stages.context import StageContext
from core.training.snapshot import Snapshot


class CheckpointWriter:
    """Saves snapshots of one run; on rank 0 only, the other ranks have nothing to write."""

    def __init__(self, context: StageContext[Any], stored_step: int | None = None) -> None:
        """`stored_step`: of the checkpoint that the run continues from."""
        self.stored_step = stored_step  # of the newest checkpoint that is known to be stored
        self._context = context
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._under_way: Future[int] | None = None
        self._buffers: dict[str, Tensor] = {}

    @property
    def busy(self) -> bool:
        """True while a checkpoint is being written. Raises what `finish` raises as soon as it is known."""
        if self._under_way is not None and self._under_way.done():
            self.finish()
        return self._under_way is not None

    def save(self, snapshot: Snapshot) -> None:
        """Copy `snapshot` and write the copy in the background; the tensors may change once this returns."""
        self.finish()
        copied = snapshot.with_tensors(self._copied(snapshot.weights), self._copied(snapshot.optimizer))
        self._under_way = self._thread.submit(self._write, copied)

    def finish(self) -> None:
        """Wait for the checkpoint under way; a store that gives no answer is only told about.

        Raises `LeaseLost`, `StoreError`, `StageError` or `OSError` if it came to nothing for another reason.
        """
        under_way, self._under_way = self._under_way, None
        if under_way is None:
            return
        try:
            self.stored_step = under_way.result()
        except StoreUnavailable as error:
            self._context.report.log(f"a checkpoint could not be stored: {error}")

    def close(self) -> None:
        """End the thread; a checkpoint under way is completed first."""
        self._thread.shutdown()

    def _copied(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors in host memory; pinned buffers are made once and used again, since pinning takes long."""
        copies = {}
        for name, tensor in tensors.items():
            if tensor.device.type == "cpu":
                copies[name] = tensor.detach().clone()
                continue
            if name not in self._buffers:
                self._buffers[name] = torch.empty_like(tensor, device="cpu", pin_memory=True)
            copies[name] = self._buffers[name].copy_(tensor.detach(), non_blocking=True)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return copies

    def _write(self, snapshot: Snapshot) -> int:
        folder = self._context.scratch / f"checkpoint-{snapshot.step}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            snapshot.write(folder)
            self._context.checkpoints.save(snapshot.step, folder)
            return snapshot.step
        finally:
            shutil.rmtree(folder, ignore_errors=True)
