"""What every training stage does around its loop: restore or begin, train, write the artifact, count what it took."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.model.architecture import Architecture
from core.model.transformer import Transformer
from core.stages.context import Metrics, StageContext, StageError
from core.stages.report import Reporter
from core.training import snapshot
from core.training.checkpointing import CheckpointWriter
from core.training.curves import loss_curve
from core.training.distributed import World
from core.training.hardware import memory_in_use
from core.training.loop import SAMPLED, Job, Trainer
from core.training.numerics import attention_kernel
from core.training.optimizer import Optimizer
from core.training.prefetch import Prefetcher
from core.training.speed import Speed
from core.training.step import TrainingStep
from core.training.stopping import StopRequest
from core.training.trace import Trace
from core.training.tracking.tracker import TrackedRun, Tracker
from core.training.tracking.trackers import open_trackers
from core.training.validation import BPB_OF_WAY

HISTORY_POINTS = 300  # of the steps before a checkpoint, told again to who watches


def train(
    context: StageContext[Any], job: Job, model: Transformer, optimizer: Optimizer, world: World, stop: StopRequest
) -> Metrics:
    """Run `job` from its newest checkpoint, or from where it begins; write the artifact."""
    trace = Trace()
    saved_step = continue_from_checkpoint(context, job, model, optimizer, world, trace)
    if saved_step is None:
        job.begin()
    step = job.first_step if saved_step is None else saved_step
    tracker = tracker_of(context, world, model.architecture)
    writer = CheckpointWriter(context, saved_step)
    try:
        with Prefetcher(job.batches, world.device, job.end_step * job.batches.rows_per_step) as prefetcher:
            training = TrainingStep(
                model=model,
                optimizer=optimizer,
                optimization=job.optimization,
                batches=job.batches,
                prefetcher=prefetcher,
                world=world,
                micro_batch=job.micro_batch,
                say=speaker(context.report, world),
                skips=world.broadcast(trace.skips_in_a_row),
            )
            speed = Speed.of(model.architecture, job.batches.sequence_length, world)
            Trainer(job, training, trace, speed, world, stop, context, tracker, writer, step, saved_step).run()
    finally:
        writer.close()
        tracker.close()
    state = optimizer.state()
    if world.leads:
        snapshot.write(context.output, job.state(job.end_step), model.state_dict(), state, trace)
        curve = loss_curve(context.name, trace.losses, trace.series("validation_bpb"))
        for name, plot in {"loss.svg": curve, **job.plots(trace)}.items():
            (context.output / name).write_text(plot)
    return metrics(context, job, trace, training, world)


def continue_from_checkpoint(
    context: StageContext[Any], job: Job, model: Transformer, optimizer: Optimizer, world: World, trace: Trace
) -> int | None:
    """Put model, optimizer, trace and micro-batch where the newest checkpoint left them; returns its step, if any."""
    restored = snapshot.restore(context, world, model, optimizer, trace)
    if restored is None:
        return None
    step, position = restored
    expected = step * job.batches.rows_per_step
    if position.rows_read != expected:
        raise StageError(
            f"{context.name}: its checkpoint of step {step} had read {position.rows_read:,} rows, but {expected:,} "
            "come before that step; it is another run's: remove the stage's progress/ folder to begin again"
        )
    if context.runtime.micro_batch_rows is None:
        job.micro_batch.rows = position.micro_batch_rows
    moved = f", on {world.size} ranks instead of {position.world_size}" if position.world_size != world.size else ""
    speaker(context.report, world)(f"continuing at step {step} of {job.end_step}{moved}")
    if world.leads:
        tell_history(context.report, trace)
    return step


def tell_history(report: Reporter, trace: Trace) -> None:
    """Let who watches this process see what earlier ones measured."""
    for record in trace.outline(HISTORY_POINTS):
        names = SAMPLED if "rate_multiplier" in record else record.keys() - {"step"}
        report.measured(int(record["step"]), {name: record[name] for name in sorted(names) if name in record})


def tracker_of(context: StageContext[Any], world: World, architecture: Architecture) -> Tracker:
    """The trackers that were asked for, on rank 0; none on the others."""
    names = context.runtime.trackers if world.leads else ()
    run = TrackedRun(
        name=context.name,
        key=context.key,
        folder=Path(context.runtime.tracking_folder),
        settings={
            "depth": architecture.depth,
            "width": architecture.width,
            "parameters": architecture.total_parameters,
        },
    )
    return open_trackers(names, run, context.report.log)


def speaker(report: Reporter, world: World) -> Callable[[str], None]:
    """What says a line for people: rank 0's report; the other ranks keep silent."""
    return report.log if world.leads else lambda line: None


def metrics(context: StageContext[Any], job: Job, trace: Trace, training: TrainingStep, world: World) -> Metrics:
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
        "data_seconds": round(sum(seconds for _, seconds in trace.series("data_seconds")), 3),
        "device_seconds": round(trace.wall_seconds * world.size, 3),
        "peak_memory_bytes": memory_in_use(world.device),
        "micro_batch_rows": training.micro_batch.rows,
        "skipped_updates": len(trace.series("skipped")),
        "attention": attention_kernel(training.model),
        **{name: value for name in job.summary for _, value in trace.series(name)[:1]},
        **{name: value for name in BPB_OF_WAY.values() for _, value in trace.series(name)[-1:]},
    }
