"""Stage `recalibrate`: the rest of a horizon without positions (DroPE, arXiv 2512.12167).

RoPE is off from the first step on; rates, optimizer state and data order continue as if nothing had happened. At the
drop the same weights are measured with and without RoPE, and the recovery every 25 steps for 500 (at least 8 points
in shorter runs); `recovery.svg` shows both. As in the seed series there is no re-warmup and no logit scaling.
"""

from __future__ import annotations

from core.model.rope_switch import positions
from core.model.transformer import Transformer
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import TrainingIdentity
from core.training.curves import recovery_curve
from core.training.distributed import World
from core.training.pretrain import Measurements, train_segment
from core.training.stopping import StopRequest
from core.training.trace import Trace
from core.training.validation import HeldOutDocuments

RECOVERY_STEPS = 500
RECOVERY_INTERVAL = 25
RECOVERY_POINTS = 8  # at least, when the whole stage is shorter than 200 steps


def produce(context: StageContext[TrainingIdentity]) -> Metrics:
    """Train without RoPE; metrics gain `drop_bpb_with_rope` and `drop_bpb_without_rope`."""
    identity = context.identity
    if identity.use_rope:
        raise StageError(f"{context.name}: a recalibrate stage trains without RoPE, but its identity has use_rope true")
    first, every = identity.first_step, context.runtime.evaluate_steps
    interval = recovery_interval(identity.end_step - first)

    def at(step: int) -> bool:
        recovering = step - first <= RECOVERY_STEPS and (step - first) % interval == 0
        return recovering or step % every == 0

    def by(
        model: Transformer, validation: HeldOutDocuments, world: World, stop: StopRequest, step: int
    ) -> dict[str, float]:
        without = validation.measure(model, world, stop)
        if step != first:
            return without
        with positions(model, use_rope=True):
            return {
                **without,
                "drop_bpb_without_rope": without["validation_bpb"],
                "drop_bpb_with_rope": validation.measure(model, world, stop)["validation_bpb"],
                "drop_validation_bytes": validation.bytes,
            }

    def plots(trace: Trace) -> dict[str, str]:
        [(_, with_rope)] = trace.series("drop_bpb_with_rope")
        return {"recovery.svg": recovery_curve(context.name, with_rope, trace.series("validation_bpb"))}

    summary = ("drop_bpb_with_rope", "drop_bpb_without_rope")
    return train_segment(context, Measurements(at=at, by=by, summary=summary, plots=plots))


def recovery_interval(steps: int) -> int:
    """Steps between measurements after the drop, in a stage of `steps`."""
    return max(1, min(RECOVERY_INTERVAL, steps // RECOVERY_POINTS))
