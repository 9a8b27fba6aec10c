"""Stages `sft` and `long_sft`: one pass over a mixture, supervising only what the assistant says.

Starts from a base artifact, never from another fine-tune: weights, optimizer state (warm) and `use_rope` are its. Rates
are the identity's own, flat for half the run, then linear to 0; Muon's weight decay stays constant. Rows may be longer
than the base was trained on. The last step is filled up with rows that supervise nothing.
Inputs: `base`, `mixture`, `tokenizer` (for measuring only).
"""

from __future__ import annotations

from functools import partial

from core.model.checkpoint import ModelState, load_state
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import FinetuneIdentity
from core.training import snapshot
from core.training.batches import MixtureBatches, open_mixture, rows_per_step
from core.training.distributed import current_world
from core.training.loop import Job
from core.training.micro_batch import MicroBatch
from core.training.numerics import compile_where_it_pays, fix_numerics
from core.training.optimizer import Optimizer
from core.training.precision import build_model
from core.training.pretrain import measure_validation
from core.training.schedule import finetuning_rates
from core.training.stage import train
from core.training.stopping import stop_requests
from core.training.validation import HeldOutDocuments, Validation


def produce(context: StageContext[FinetuneIdentity]) -> Metrics:
    """Fine-tune the base on the mixture's training rows; `validation_bpb` is over its held-out supervised tokens."""
    identity, runtime, world = context.identity, context.runtime, current_world()
    base = load_state(context.inputs["base"])
    if base.phase != "base":
        raise StageError(f"{context.inputs['base']}: is a fine-tuned model; fine-tuning starts from a base model")
    fix_numerics(context.runtime.kernels)
    model = build_model(base.architecture, identity.precision, base.use_rope, world.device)
    optimizer = Optimizer(model, identity.optimization, world)
    batches = open_batches(context)
    flops = batches.steps * identity.batch_tokens * base.architecture.flops_per_token
    compile_where_it_pays(model, world.device, flops)
    micro_batch = MicroBatch.fitting(identity.sequence_length, context.runtime.micro_batch_rows)
    validation = Validation.of(
        *open_mixture(context.inputs["mixture"], "validation"),
        context.inputs["tokenizer"],
        tokens=runtime.validation_batches * identity.batch_tokens,
        micro_batch=micro_batch,
    )
    with stop_requests() as stop:
        job = Job(
            first_step=0,
            end_step=batches.steps,
            steps=batches.steps,
            begin=partial(snapshot.load_into, context.inputs["base"], world, model, optimizer),
            batches=batches,
            rates=lambda step: finetuning_rates(identity.optimization, step, batches.steps),
            micro_batch=micro_batch,
            optimization=identity.optimization,
            state=partial(state_before, identity, base, batches.steps),
            is_measured=lambda step: step > 0 and step % runtime.evaluate_steps == 0,
            measure=partial(measure_validation, model, HeldOutDocuments({"forward": validation}), world, stop),
        )
        return train(context, job, model, optimizer, world, stop)


def open_batches(context: StageContext[FinetuneIdentity]) -> MixtureBatches:
    """The mixture's training rows, checked against the length that the identity asks for."""
    identity = context.identity
    rows, mask = open_mixture(context.inputs["mixture"], "train")
    if rows.row_tokens != identity.sequence_length + 1:
        raise StageError(f"the mixture's rows have {rows.row_tokens} tokens, expected {identity.sequence_length} + 1")
    if rows.count == 0:
        raise StageError(f"{context.name}: the mixture has no training row")
    return MixtureBatches(rows, mask, rows_per_step(identity.batch_tokens, identity.sequence_length))


def state_before(identity: FinetuneIdentity, base: ModelState, steps: int, step: int) -> ModelState:
    """The state of the model before `step` of `steps`."""
    return ModelState(
        phase="sft",
        step=step,
        steps=steps,
        use_rope=base.use_rope,
        direction=base.direction,
        sequence_length=identity.sequence_length,
        batch_tokens=identity.batch_tokens,
        tokens_seen=base.tokens_seen + step * identity.batch_tokens,
        precision=identity.precision,
        seed=identity.seed,
        architecture=base.architecture,
        optimization=identity.optimization,
    )
