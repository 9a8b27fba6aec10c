"""The training loop: optimizer steps [first, end) that no interruption, rank count or micro-batch can change.

Guarantees:
- a spike stops the run before it reaches a parameter (or skips the update, where the recipe says so).
- a signal ends the run at the end of its step, with a checkpoint; continuing from it gives the same bits.
- measurements read other rows and leave no trace in parameters, optimizer or data order.
- checkpoints are written in the background; weights that are not finite are never saved, because they would hide an
  older checkpoint from which a run recovers after a fault of the machine.
All ranks take every decision alike: rank 0's clock says when to checkpoint, a signal to any of them stops all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import torch

from core.model.checkpoint import ModelState
from core.recipes.optimization import Optimization
from core.stages.context import Interrupted, StageContext, StageError
from core.training.batches import Batches
from core.training.checkpointing import CheckpointWriter
from core.training.distributed import World
from core.training.micro_batch import MicroBatch
from core.training.schedule import Rates
from core.training.snapshot import Position, Snapshot
from core.training.speed import Speed
from core.training.step import Spike, StepResult, TrainingStep
from core.training.stopping import Stopped, StopRequest
from core.training.trace import Trace
from core.training.tracking.tracker import Tracker

STALL_SECONDS = 1.0  # a step that waits longer for its rows is worth a line
LAST_SHARE = 0.1  # of the time between checkpoints: what took less is not worth a checkpoint in the end
SAMPLED = ("loss", "tokens_per_second")  # of every step, for who watches the run


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a stage asks of the loop."""

    first_step: int
    end_step: int
    steps: int  # N, the horizon that the schedules are made for
    begin: Callable[[], None]  # puts model and optimizer where the first step finds them
    batches: Batches
    micro_batch: MicroBatch
    optimization: Optimization
    rates: Callable[[int], Rates]
    state: Callable[[int], ModelState]  # of the model before a step
    is_measured: Callable[[int], bool]  # whether the model is measured before a step
    measure: Callable[[int], dict[str, float]]  # name -> value; may raise Stopped
    summary: tuple[str, ...] = ()  # measurements whose first value is a metric of the stage
    plots: Callable[[Trace], Mapping[str, str]] = lambda trace: {}  # file name -> SVG, besides the loss curve


@dataclass
class Trainer:
    """One rank's part of a run."""

    job: Job
    training: TrainingStep
    trace: Trace
    speed: Speed
    world: World
    stop: StopRequest
    context: StageContext[Any]
    tracker: Tracker
    writer: CheckpointWriter
    step: int  # about to be taken
    saved_step: int | None  # of the newest checkpoint that was begun, or that the run continues from
    _saved_at: float = field(default_factory=time.monotonic)
    _logged_at: float = field(default_factory=time.monotonic)
    _counted_at: float = field(default_factory=time.monotonic)  # up to here the trace knows the wall clock

    def run(self) -> None:
        """Take all remaining steps; raises `Interrupted` once the state is saved, `StageError` when it diverges."""
        try:
            while self.step < self.job.end_step:
                self.stop.check(self.world)
                if self.job.is_measured(self.step):
                    self._measure()
                self._take_step()
                self._checkpoint_if_due()
            self._checkpoint_the_end()
            self._measure()
        except Stopped as stopped:
            saved = "saved" if self._save_now() else "could not be saved, an older checkpoint serves"
            raise Interrupted(f"{stopped} at step {self.step}: {saved}") from None
        except Spike as spike:
            self._save_now()
            raise StageError(
                f"{self.context.name}: {spike}; stopped before the update, and the last finite state is kept: look at "
                "these rows, at the learning rate, or at the machine of that rank"
            ) from None
        self.writer.finish()
        self._count_time()

    def _take_step(self) -> None:
        started, waited = time.monotonic(), self._waited_for_rows()
        rates = self.job.rates(self.step)
        result = self.training.take(self.step, rates)
        waited = self._waited_for_rows() - waited
        if waited > STALL_SECONDS:
            self.training.say(f"step {self.step + 1}/{self.job.steps} waited {waited:.1f} s for its rows")
        self._record(result, rates, time.monotonic() - started, waited)
        self.step += 1

    def _waited_for_rows(self) -> float:
        """Seconds in all, on this rank."""
        return self.training.times.seconds.get("data", 0.0)

    def _measure(self) -> None:
        values = self.job.measure(self.step)
        for name, value in values.items():
            if not isfinite(value):
                raise Spike(f"{name} is {value} at step {self.step}")
        self.trace.measure(self.step, values)
        if self.world.leads:
            self.tracker.record(self.step, values)
            self.context.report.measured(self.step, values)
            text = ", ".join(
                f"{name} {value:,}" if isinstance(value, int) else f"{name} {value:.4f}"
                for name, value in values.items()
            )
            self.context.report.log(f"step {self.step}/{self.job.steps}: {text}")

    def _record(self, result: StepResult, rates: Rates, seconds: float, waited: float) -> None:
        job, step = self.job, self.step
        rate = job.batches.rows_per_step * job.batches.sequence_length / seconds
        self.trace.step_seconds += seconds
        values = {
            "loss": result.loss,
            "rate_multiplier": rates.multiplier,
            "gradient_norm": result.gradient_norm,
            "data_seconds": round(waited, 4),
            **({"skipped": 1.0} if result.skipped else {}),
            **self.speed.values(rate),
        }
        self.trace.add_step(step, values)
        if not self.world.leads:
            return
        self.tracker.record(step, values)
        self.context.report.sample(step, {name: values[name] for name in SAMPLED if isfinite(values[name])})
        done = step + 1 - job.first_step
        self.context.report.progress(done, job.end_step - job.first_step, "steps", f"loss {result.loss:.4f}")
        if time.monotonic() - self._logged_at > self.context.runtime.log_seconds:
            self._logged_at = time.monotonic()
            self.context.report.log(self._line(result, rates, rate))

    def _line(self, result: StepResult, rates: Rates, rate: float) -> str:
        """Everything about one step on one line."""
        job, done = self.job, self.step + 1 - self.job.first_step
        self._count_time()
        left = (job.end_step - self.step - 1) * self.trace.wall_seconds / done
        measured = self.trace.series("validation_bpb")
        end = "" if job.end_step == job.steps else f" to step {job.end_step}"
        return ", ".join(
            [
                f"step {self.step + 1}/{job.steps}: loss {result.loss:.4f}",
                *([f"validation bpb {measured[-1][1]:.4f}"] if measured else []),
                f"rate x{rates.multiplier:.3f}",
                f"gradient norm {result.gradient_norm:.3f}",
                self.speed.text(rate),
                f"{duration(left)} left{end}",
            ]
        )

    def _checkpoint_if_due(self) -> None:
        busy = self.writer.busy  # asked after every step: what ended a checkpoint ends the run now, not in ten minutes
        due = not busy and time.monotonic() - self._saved_at > self.context.runtime.checkpoint_seconds
        if self.world.broadcast(due) and self.step < self.job.end_step:
            self._save()

    def _checkpoint_the_end(self) -> None:
        """Checkpoint the state after the last step, while the model is measured: what stops us now costs no step."""
        worth = time.monotonic() - self._saved_at > LAST_SHARE * self.context.runtime.checkpoint_seconds
        if self.world.broadcast(worth):
            self._save()

    def _save_now(self) -> bool:
        """Save the state before the current step and wait for it; says on all ranks whether it is stored.

        The others wait for rank 0: torchrun ends it soon after the first of them has ended.
        """
        self._save()
        self.writer.finish()
        return bool(self.world.broadcast(self.writer.stored_step == self.step))

    def _save(self) -> None:
        """Checkpoint the state before the current step, once; all ranks come here together."""
        training = self.training
        finite = torch.stack([parameter.isfinite().all() for parameter in training.optimizer.parameters]).all()
        if self.saved_step == self.step or self.world.any(not finite):
            return
        with training.times.part("checkpoint"):
            self._count_time()
            optimizer = training.optimizer.state()
            if self.world.leads:
                rows_read = self.step * self.job.batches.rows_per_step
                self.writer.save(
                    Snapshot(
                        step=self.step,
                        state=self.job.state(self.step),
                        weights=dict(training.model.state_dict()),
                        optimizer=optimizer,
                        trace=self.trace,
                        position=Position(
                            rows_read=rows_read,
                            micro_batch_rows=training.micro_batch.rows,
                            world_size=self.world.size,
                        ),
                    )
                )
        self.saved_step, self._saved_at = self.step, time.monotonic()

    def _count_time(self) -> None:
        now = time.monotonic()
        self.trace.wall_seconds += now - self._counted_at
        self._counted_at = now


def duration(seconds: float) -> str:
    """A time as people say it: 45 s, 12 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
