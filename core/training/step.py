"""One optimizer step: the batch's gradient, added up in micro-batches over all ranks, checked, then applied.

Guarantees:
- the loss of a step is the mean over the supervised tokens of its whole batch: how the batch is split over ranks and
  micro-batches changes nothing but the order of additions, and a row that supervises nothing adds 0.
- running out of memory while the gradient is made halves the micro-batch on all ranks and makes the gradient again.
- a spike (loss or gradient norm not finite, or a norm above the recipe's limit) never reaches a parameter.
- ranks communicate once a step: gradients are reduced after the last micro-batch, not after each.
Every rank takes every decision alike, because each rests on numbers that all of them have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite

import torch
from torch import Tensor

from core.model.loss import next_token_loss
from core.model.transformer import Transformer
from core.recipes.optimization import Optimization
from core.stages.context import StageError
from core.training.batches import Batches
from core.training.distributed import World
from core.training.micro_batch import MicroBatch, is_out_of_memory, release_memory
from core.training.optimizer import Optimizer
from core.training.prefetch import Prefetcher
from core.training.schedule import Rates
from core.training.times import Times

MAXIMUM_SKIPS = 10  # in a row: weights that make every batch a spike do not recover


class Spike(Exception):
    """An update was refused, and the policy is to stop: says what was seen, in which rows, on which rank."""


@dataclass(frozen=True)
class StepResult:
    """What one step was like, the same on every rank."""

    loss: float  # nats per supervised token
    gradient_norm: float  # L2, before clipping
    skipped: bool


@dataclass
class TrainingStep:
    """Takes steps of one model on one stream of rows."""

    model: Transformer
    optimizer: Optimizer
    optimization: Optimization
    batches: Batches
    prefetcher: Prefetcher
    world: World
    micro_batch: MicroBatch
    say: Callable[[str], None]  # one line for people
    skips: int = 0  # in a row, up to now
    times: Times = field(default_factory=Times)

    def take(self, step: int, rates: Rates) -> StepResult:
        """Take step number `step`; raises `Spike` before the update, `StageError` when a single row does not fit."""
        losses = self._gradients(step)
        with self.times.part("optimizer"):
            norm = self.optimizer.reduce_gradients()
            (loss,) = self.world.sum(sum(losses.values()))
            policy, clip = self.optimization.spike_policy, self.optimization.gradient_clip
            over = policy.gradient_norm is not None and norm > policy.gradient_norm
            if over or not (isfinite(loss) and isfinite(norm)):
                self.optimizer.discard_gradients()
                self._refuse(step, loss, norm, losses)
                return StepResult(loss, norm, skipped=True)
            self.optimizer.step(rates, clip / (norm + 1e-6) if clip is not None and norm > clip else 1.0)
        self.skips = 0
        return StepResult(loss, norm, skipped=False)

    def _gradients(self, step: int) -> dict[int, float]:
        """Make this rank's part of the gradient, in smaller pieces until it fits; the loss of each by its first row."""
        while True:
            losses, why = self._try_gradients(step)
            if not self.world.any(why is not None):
                return losses
            self.optimizer.discard_gradients()
            release_memory(self.world.device)
            self._back_off(why)

    def _try_gradients(self, step: int) -> tuple[dict[int, float], str | None]:
        """The losses by first row; or why there was not enough memory for them, with the failed tensors released."""
        try:
            return self._accumulate(step), None
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return {}, str(error).splitlines()[0]

    def _accumulate(self, step: int) -> dict[int, float]:
        rows = self.batches.rows_per_step
        share = self.world.share(rows)
        scale = 1 / max(1, self.batches.supervised(step * rows, rows))
        parts = self.micro_batch.parts(range(step * rows + share.start, step * rows + share.stop))
        next_share = range((step + 1) * rows + share.start, (step + 1) * rows + share.stop)
        following = [*parts[1:], *self.micro_batch.parts(next_share)[:1]]
        losses: list[Tensor] = []
        for part, after in zip(parts, following, strict=True):
            with self.times.part("data"):
                inputs, targets = self.prefetcher.get(part, after)
            with self.times.part("forward_backward"):
                loss = next_token_loss(self.model, inputs, targets, scale)
                torch.autograd.backward(loss)
                losses.append(loss.detach())
        with self.times.part("forward_backward"):
            values = torch.stack(losses).tolist() if losses else []  # the step's one wait for the device
        return {part.start: value for part, value in zip(parts, values, strict=True)}

    def _back_off(self, why: str | None) -> None:
        before = self.micro_batch.rows
        self.micro_batch.halve(-(-self.batches.rows_per_step // self.world.size))
        if self.micro_batch.rows == before:
            raise StageError(
                f"out of memory with a single row of {self.batches.sequence_length:,} tokens"
                f"{': ' + why if why else ' on another rank'}; use a device with more memory, or free this one's"
            )
        self.say(f"out of memory with micro-batches of {before} rows: going on with {self.micro_batch.rows}")

    def _refuse(self, step: int, loss: float, norm: float, losses: dict[int, float]) -> None:
        """Count a spike and say where it came from; raises `Spike` unless the policy is to go on."""
        here = next((first for first, value in losses.items() if not isfinite(value)), -1)
        origins = self.world.gather(here)
        rows = self.batches.rows_per_step
        what, where = f"the gradient norm is {norm:g}", f"rows {step * rows:,} to {(step + 1) * rows - 1:,}"
        for rank, origin in enumerate(origins):
            if origin >= 0:
                what, where = f"the loss is {loss}", f"rank {rank}, the micro-batch that begins at row {int(origin):,}"
                break
        self.skips += 1
        seen = f"{what} at step {step} ({where})"
        if self.optimization.spike_policy.action == "stop" or self.skips > MAXIMUM_SKIPS:
            many = f"; {MAXIMUM_SKIPS} updates before it were skipped in a row" if self.skips > MAXIMUM_SKIPS else ""
            raise Spike(seen + many)
        self.say(f"{seen}: this update is skipped")
