"""What every training stage does around its loop: restore or begin, train, write the artifact, count what it took."""

from __future__ import annotations

import resource
from typing import Any

import torch

from core.model.transformer import Transformer
from core.stages.context import Metrics, StageContext
from core.training import snapshot
from core.training.curves import loss_curve
from core.training.distributed import World
from core.training.loop import MICRO_BATCH_ROWS, Job, Trainer
from core.training.optimizer import Optimizer
from core.training.stopping import StopRequest
from core.training.trace import Trace


def train(
    context: StageContext[Any],
    job: Job,
    model: Transformer,
    optimizer: Optimizer,
    world: World,
    stop: StopRequest,
) -> Metrics:
    """Run `job` from its newest checkpoint, or from where it begins; write the artifact."""
    trace = Trace()
    step = snapshot.restore(context, world, model, optimizer, trace)
    if step is None:
        job.begin()
        step = job.first_step
    elif world.leads:
        context.report.log(f"continuing at step {step} of {job.end_step}")
    Trainer(job, model, optimizer, trace, world, stop, context, step).run()
    if world.leads:
        snapshot.write(context.output, job.state(job.end_step), model, optimizer, trace)
        curve = loss_curve(context.name, trace.losses, trace.series("validation_bpb"))
        (context.output / "loss.svg").write_text(curve)
    return metrics(context, job, trace, world)


def metrics(context: StageContext[Any], job: Job, trace: Trace, world: World) -> Metrics:
    """What a person wants to know about the stage; times cover every process that worked on it."""
    steps = job.end_step - job.first_step
    tokens = steps * job.batches.rows_per_step * job.batches.sequence_length
    measured = trace.series("validation_bpb")
    return {
        "steps": steps,
        "tokens": tokens,
        "final_loss": trace.losses[-1]["loss"] if trace.losses else None,
        "validation_bpb": measured[-1][1] if measured else None,
        "tokens_per_second": round(tokens / trace.step_seconds) if trace.step_seconds else None,
        "device_seconds": round(trace.wall_seconds * world.size, 3),
        "peak_memory_bytes": peak_memory(world),
        "micro_batch_rows": context.runtime.micro_batch_rows or MICRO_BATCH_ROWS,
        **{name: value for name in job.summary for _, value in trace.series(name)[:1]},
    }


def peak_memory(world: World) -> int:
    """Bytes that this rank held at most: of GPU memory where there is a GPU, else resident."""
    if world.device.type == "cuda":
        return torch.cuda.max_memory_allocated(world.device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
