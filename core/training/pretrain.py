"""Stage `pretrain`: optimizer steps [first, end) of a horizon, with RoPE. A chain of such segments is one run.

A segment begins from its seed, or exactly where the previous one ended: parameters, optimizer and data order
carry over to the bit, so a branch from a trunk equals a run that was never shared.
Inputs: `previous` (unless it starts at step 0), `group-NNN` (the stream, in the order of their names; either all in
folders or all streamed from the store), `validation` and `tokenizer` (for measuring only).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from core.data.rows import Rows, RowStream, Stream
from core.data.streaming import StreamedRows
from core.model.checkpoint import ModelState, load_state
from core.model.transformer import Transformer
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import TrainingIdentity
from core.stages.streamed import group_roles
from core.training import snapshot
from core.training.batches import PackedBatches, rows_per_step
from core.training.distributed import World, current_world
from core.training.loop import Job
from core.training.micro_batch import MicroBatch
from core.training.numerics import compile_where_it_pays, fix_numerics
from core.training.optimizer import Optimizer
from core.training.precision import build_model
from core.training.schedule import pretraining_rates
from core.training.stage import speaker, train
from core.training.stopping import StopRequest, stop_requests
from core.training.trace import Trace
from core.training.validation import HeldOutDocuments


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """When a segment is measured besides its end, and how."""

    at: Callable[[int], bool]
    by: Callable[[Transformer, HeldOutDocuments, World, StopRequest, int], dict[str, float]]
    summary: tuple[str, ...] = ()  # measurements that become metrics of the stage
    plots: Callable[[Trace], Mapping[str, str]] = lambda trace: {}  # file name -> SVG


def produce(context: StageContext[TrainingIdentity]) -> Metrics:
    """Train one segment; returns the metrics of the stage."""
    every, first = context.runtime.evaluate_steps, context.identity.first_step
    at_cadence = Measurements(at=lambda step: step > first and step % every == 0, by=measure_validation)
    return train_segment(context, at_cadence)


def measure_validation(
    model: Transformer, validation: HeldOutDocuments, world: World, stop: StopRequest, step: int
) -> dict[str, float]:
    """Validation bits per byte of the model as it is."""
    return validation.measure(model, world, stop)


def train_segment(context: StageContext[TrainingIdentity], measurements: Measurements) -> Metrics:
    """Train steps [first, end) with the identity's `use_rope` throughout.

    Metrics gain `epochs`: how often the horizon has read the stream so far; above 1, rows have been seen again.
    """
    identity, world = context.identity, current_world()
    fix_numerics(context.runtime.kernels)
    model = build_model(identity.architecture, identity.precision, identity.use_rope, world.device)
    flops = identity.steps * identity.batch_tokens * identity.architecture.flops_per_token
    compile_where_it_pays(model, world.device, flops)
    optimizer = Optimizer(model, identity.optimization, world)
    length = identity.architecture.sequence_length
    micro_batch = MicroBatch.fitting(length, context.runtime.micro_batch_rows)
    validation = HeldOutDocuments.open(
        context.inputs["validation"],
        identity.direction,
        context.inputs["tokenizer"],
        tokens=context.runtime.validation_batches * identity.batch_tokens,
        micro_batch=micro_batch,
    )
    with open_stream(context, world) as stream, stop_requests() as stop:
        job = Job(
            first_step=identity.first_step,
            end_step=identity.end_step,
            steps=identity.steps,
            begin=partial(begin, context, world, model, optimizer),
            batches=PackedBatches(stream, rows_per_step(identity.batch_tokens, length)),
            rates=lambda step: pretraining_rates(identity.optimization, step, identity.steps),
            micro_batch=micro_batch,
            optimization=identity.optimization,
            state=partial(state_before, identity),
            is_measured=measurements.at,
            measure=partial(measurements.by, model, validation, world, stop),
            summary=measurements.summary,
            plots=measurements.plots,
        )
        metrics = train(context, job, model, optimizer, world, stop)
    read = identity.end_step * job.batches.rows_per_step
    return {**metrics, "epochs": round(read / stream.rows_per_epoch, 4)}


@contextmanager
def open_stream(context: StageContext[TrainingIdentity], world: World) -> Iterator[RowStream]:
    """The packed groups, in their order, as one stream of rows of the architecture's length."""
    identity = context.identity
    length = identity.architecture.sequence_length
    if context.streamed:
        groups = [context.streamed[role] for role in group_roles(context.streamed)]
        end = identity.end_step * rows_per_step(identity.batch_tokens, length)
        with StreamedRows(groups, length + 1, end=end, say=speaker(context.report, world)) as rows:
            yield rows
        return
    folders = [context.inputs[role] for role in group_roles(context.inputs)]
    stream = Stream([Rows.open(folder) for folder in folders])
    if stream.row_tokens != length + 1:
        raise StageError(f"the packed rows have {stream.row_tokens} tokens, the architecture trains on {length} + 1")
    yield stream


def begin(context: StageContext[TrainingIdentity], world: World, model: Transformer, optimizer: Optimizer) -> None:
    """Put model and optimizer where the first step finds them: drawn from the seed, or as `previous` left them."""
    identity = context.identity
    if identity.first_step == 0:
        model.initialize(identity.seed)
        return
    previous = context.inputs["previous"]
    state = load_state(previous)
    if state.step != identity.first_step:
        raise StageError(f"{previous}: ends at step {state.step}, but this segment begins at {identity.first_step}")
    if state.architecture != identity.architecture:
        raise StageError(f"{previous}: holds another architecture than this segment trains")
    snapshot.load_into(previous, world, model, optimizer)


def state_before(identity: TrainingIdentity, step: int) -> ModelState:
    """The state of the model before `step`."""
    return ModelState(
        phase="base",
        step=step,
        steps=identity.steps,
        use_rope=identity.use_rope,
        direction=identity.direction,
        sequence_length=identity.architecture.sequence_length,
        batch_tokens=identity.batch_tokens,
        tokens_seen=step * identity.batch_tokens,
        precision=identity.precision,
        seed=identity.seed,
        architecture=identity.architecture,
        optimization=identity.optimization,
    )
