"""How fast this device trains one shape: `python -m core.training.probe PROBE.json` takes a few steps and times them.

The steps are those of training, on rows of random tokens, on one GPU: forward, backward, accumulation over
micro-batches, the optimizer. What only several GPUs do, talking to each other, is not in the number. The process writes
its outcome beside the probe, as a stage process does.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from core.planning.probe import Probe
from core.stages.child import FAILED, FINISHED, numerics_domain
from core.stages.context import StageError
from core.stages.parent_death import die_with_parent
from core.stages.report import Reporter
from core.stages.specification import Outcome
from core.training.batches import rows_per_step
from core.training.distributed import World, current_world
from core.training.micro_batch import MicroBatch
from core.training.numerics import compile_where_it_pays, fix_numerics
from core.training.optimizer import Optimizer
from core.training.precision import build_model
from core.training.prefetch import Prefetcher
from core.training.schedule import pretraining_rates
from core.training.step import TrainingStep

WARM_UP_STEPS = 2  # the first compiles, the second finds its kernels and memory
CPU_FLOPS = 2e13  # of a probe that a processor is asked to take: minutes


@dataclass(frozen=True)
class RandomBatches:
    """Rows of random tokens, every target supervised. What the tokens are changes no speed."""

    vocabulary_size: int
    sequence_length: int
    rows_per_step: int

    def read(self, start: int, count: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets, int64 [count, T] each."""
        tokens = torch.randint(self.vocabulary_size, (count, self.sequence_length + 1))
        return tokens[:, :-1], tokens[:, 1:]

    def supervised(self, start: int, count: int) -> int:
        """All of them."""
        return count * self.sequence_length


def measure(probe: Probe, world: World, report: Reporter) -> float:
    """Tokens a second of one GPU. Raises `StageError` for what this device cannot train, or not in minutes."""
    require_feasible(probe, world.device)
    fix_numerics(probe.runtime.kernels)
    architecture = probe.architecture
    model = build_model(architecture, probe.precision, use_rope=True, device=world.device)
    compile_where_it_pays(model, world.device, flops_of(probe))
    model.initialize(seed=0)
    length = architecture.sequence_length
    batches = RandomBatches(architecture.vocabulary_size, length, rows_per_step(probe.batch_tokens, length))
    with Prefetcher(batches, world.device) as prefetcher:
        training = TrainingStep(
            model=model,
            optimizer=Optimizer(model, probe.optimization, world),
            optimization=probe.optimization,
            batches=batches,
            prefetcher=prefetcher,
            world=world,
            micro_batch=MicroBatch.fitting(length, probe.runtime.micro_batch_rows),
            say=report.log,
        )
        return _timed(probe, training, world, report)


def _timed(probe: Probe, training: TrainingStep, world: World, report: Reporter) -> float:
    total, seconds = WARM_UP_STEPS + probe.steps, 0.0
    for step in range(total):
        began = time.perf_counter()
        training.take(step, pretraining_rates(probe.optimization, step, total))
        if world.device.type == "cuda":
            torch.cuda.synchronize(world.device)
        taken = time.perf_counter() - began
        seconds += taken if step >= WARM_UP_STEPS else 0.0
        report.progress(step + 1, total, "steps", f"{probe.batch_tokens / taken:,.0f} tokens/s")
    return probe.steps * probe.batch_tokens / seconds


def flops_of(probe: Probe) -> int:
    """What its steps take."""
    return (WARM_UP_STEPS + probe.steps) * probe.batch_tokens * probe.architecture.flops_per_token


def require_feasible(probe: Probe, device: torch.device) -> None:
    """Raise `StageError` when `device` is a processor and the steps would keep it busy for more than minutes."""
    flops = flops_of(probe)
    if device.type == "cpu" and flops > CPU_FLOPS:
        raise StageError(
            f"{WARM_UP_STEPS + probe.steps} steps of {probe.architecture.total_parameters / 1e6:,.0f}M parameters are "
            f"{flops:.1e} FLOPs, too many for a processor, and this machine has no GPU that torch can use; "
            "calibrate on a GPU, or use `miniseries plan --gpu NAME`, which assumes a speed"
        )


def main(path: Path) -> int:
    """Measure what the file at `path` describes; write the outcome beside it and return the exit code."""
    die_with_parent()
    probe = Probe.read(path)
    try:
        speed = measure(probe, current_world(), Reporter())
    except StageError as error:
        return _failed(str(error), path)
    metrics = {"tokens_per_second": speed}
    Outcome(status="finished", rank=0, metrics=metrics, numerics=numerics_domain()).write(path.parent)
    return FINISHED


def _failed(error: str, path: Path) -> int:
    Outcome(status="failed", rank=0, error=error).write(path.parent)
    return FAILED


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
