"""The training loop: optimizer steps [first, end) that no interruption, rank count or micro-batch can change.

Guarantees:
- the loss of a step is the mean over the supervised tokens of its whole batch, on all ranks: how it is split over
  ranks and micro-batches changes nothing but the order of additions, and a row that supervises nothing adds 0.
- a loss or gradient that is not finite stops the run before it reaches a parameter.
- a signal ends the run at the end of its step, with a checkpoint; continuing from it gives the same bits.
- measurements read other rows and leave no trace in parameters, optimizer or data order.
All ranks take every decision alike: rank 0's clock says when to checkpoint, a signal to any of them stops all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NoReturn

import torch
from torch import Tensor

from core.model.checkpoint import ModelState
from core.model.loss import next_token_loss
from core.model.transformer import Transformer
from core.stages.context import Interrupted, StageContext, StageError
from core.training import snapshot
from core.training.batches import Batches
from core.training.distributed import World
from core.training.optimizer import Optimizer
from core.training.schedule import Rates
from core.training.stopping import Stopped, StopRequest
from core.training.trace import Trace

MICRO_BATCH_ROWS = 16


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a stage asks of the loop."""

    first_step: int
    end_step: int
    begin: Callable[[], None]  # puts model and optimizer where the first step finds them
    batches: Batches
    rates: Callable[[int], Rates]
    gradient_clip: float | None
    state: Callable[[int], ModelState]  # of the model before a step
    is_measured: Callable[[int], bool]  # whether the model is measured before a step
    measure: Callable[[int], dict[str, float]]  # name -> value; may raise Stopped
    summary: tuple[str, ...] = ()  # measurements whose first value is a metric of the stage


@dataclass
class Trainer:
    """One rank's part of a run: the state that steps change."""

    job: Job
    model: Transformer
    optimizer: Optimizer
    trace: Trace
    world: World
    stop: StopRequest
    context: StageContext[Any]
    step: int  # about to be taken
    _saved_step: int = -1  # of the newest checkpoint that this process wrote
    _saved_at: float = field(default_factory=time.monotonic)
    _logged_at: float = field(default_factory=time.monotonic)
    _counted_at: float = field(default_factory=time.monotonic)  # up to here the trace knows the wall clock

    def run(self) -> None:
        """Take all remaining steps; raises `Interrupted` once the state is saved, `StageError` when it diverges."""
        try:
            while self.step < self.job.end_step:
                if self.job.is_measured(self.step):
                    self._measure()
                self._take_step()
                self.stop.check(self.world)
                due = time.monotonic() - self._saved_at > self.context.runtime.checkpoint_seconds
                if self.world.broadcast(due) and self.step < self.job.end_step:
                    self._save()
            self._measure()
        except Stopped as stopped:
            self._save()
            raise Interrupted(f"{stopped} at step {self.step}: saved, run again to continue from there") from None
        self._count_time()

    def _take_step(self) -> None:
        started = time.monotonic()
        job, rows = self.job, self.job.batches.rows_per_step
        scale = 1 / max(1, job.batches.supervised(self.step * rows, rows))
        losses = self._accumulate_gradients(self.step * rows, rows, scale)
        self.world.sum_gradients(self.optimizer.parameters)
        (loss,) = self.world.sum(sum(losses.values()))
        norm = gradient_norm(self.optimizer.parameters)
        if not (isfinite(loss) and isfinite(norm)):
            self._refuse(loss, norm, losses)
        if job.gradient_clip is not None and norm > job.gradient_clip:
            for parameter in self.optimizer.parameters:
                if parameter.grad is not None:
                    parameter.grad.mul_(job.gradient_clip / (norm + 1e-6))
        rates = job.rates(self.step)
        self.optimizer.step(rates)
        self._record(loss, norm, rates, time.monotonic() - started)
        self.step += 1

    def _accumulate_gradients(self, start: int, count: int, scale: float) -> dict[int, float]:
        """Add up this rank's part of the gradient; return the loss of each micro-batch by its first row."""
        share = self.world.share(count)
        micro = self.context.runtime.micro_batch_rows or MICRO_BATCH_ROWS
        losses: dict[int, Tensor] = {}
        for parameter in self.optimizer.parameters if not share else ():
            parameter.grad = torch.zeros_like(parameter)
        for first in range(share.start, share.stop, micro):
            rows = min(micro, share.stop - first)
            inputs, targets = self.job.batches.read(start + first, rows)
            loss = next_token_loss(self.model, inputs.to(self.world.device), targets.to(self.world.device), scale)
            torch.autograd.backward(loss)
            losses[start + first] = loss.detach()
        return {first: loss.item() for first, loss in losses.items()}

    def _refuse(self, loss: float, norm: float, losses: dict[int, float]) -> NoReturn:
        """Stop before the update, naming where the number came from; the newest finite state is kept."""
        self._save()
        here = next((first for first, value in losses.items() if not isfinite(value)), -1)
        origins = self.world.gather(here)
        rows = self.job.batches.rows_per_step
        what = f"the gradient norm is {norm} though the loss of every rank is finite"
        where = f"rows {self.step * rows:,} to {(self.step + 1) * rows - 1:,}"
        for rank, origin in enumerate(origins):
            if origin >= 0:
                what, where = f"the loss is {loss}", f"rank {rank}, the micro-batch that begins at row {int(origin):,}"
                break
        raise StageError(
            f"{self.context.name}: {what} at step {self.step} ({where}); stopped before the update, and the last "
            "finite state is kept: look at these rows, at the learning rate, or at the machine of that rank"
        )

    def _measure(self) -> None:
        values = self.job.measure(self.step)
        self.trace.measure(self.step, values)
        if self.world.leads:
            text = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
            self.context.report.log(f"step {self.step}/{self.job.end_step}: {text}")

    def _record(self, loss: float, norm: float, rates: Rates, seconds: float) -> None:
        job, step = self.job, self.step
        speed = job.batches.rows_per_step * job.batches.sequence_length / seconds
        self.trace.step_seconds += seconds
        self.trace.losses.append({"step": step, "loss": loss})
        self.trace.metrics.append(
            {
                "step": step,
                "loss": loss,
                "rate_multiplier": rates.multiplier,
                "gradient_norm": norm,
                "tokens_per_second": round(speed),
            }
        )
        if not self.world.leads:
            return
        done = step + 1 - job.first_step
        self.context.report.progress(done, job.end_step - job.first_step, "steps", f"loss {loss:.4f}")
        if time.monotonic() - self._logged_at > self.context.runtime.log_seconds:
            self._logged_at = time.monotonic()
            left = (job.end_step - step - 1) * self.trace.step_seconds / done
            measured = self.trace.series("validation_bpb")
            bpb = f", validation bpb {measured[-1][1]:.4f}" if measured else ""
            self.context.report.log(
                f"step {step + 1}/{job.end_step}: loss {loss:.4f}{bpb}, rate x{rates.multiplier:.3f}, "
                f"gradient norm {norm:.3f}, {speed:,.0f} tokens/s, {left:.0f} s left"
            )

    def _save(self) -> None:
        """Checkpoint the state before the current step, once; returns on all ranks together.

        Weights that are not finite are never saved: they would hide an older checkpoint from which a run recovers
        after a fault of the machine.
        """
        broken = any(not parameter.isfinite().all() for parameter in self.optimizer.parameters)
        if self._saved_step != self.step and not self.world.any(broken):
            self._count_time()
            if self.world.leads:
                state = self.job.state(self.step)
                snapshot.save_checkpoint(self.context, self.step, state, self.model, self.optimizer, self.trace)
            self.world.wait_for_all()
            self._saved_step, self._saved_at = self.step, time.monotonic()

    def _count_time(self) -> None:
        now = time.monotonic()
        self.trace.wall_seconds += now - self._counted_at
        self._counted_at = now


def gradient_norm(parameters: list[torch.nn.Parameter]) -> float:
    """L2 norm of all gradients together, float32 sums whatever their dtype."""
    norms = [
        torch.linalg.vector_norm(parameter.grad, dtype=torch.float32)
        for parameter in parameters
        if parameter.grad is not None
    ]
    return float(torch.stack(norms).norm())
