"""The curves of a card as SVG: loss and bits per byte of a whole phase, and the recovery after a RoPE drop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from core.lineage.lineage import Ancestor, Lineage
from core.publishing.deliverables import Deliverable
from core.stages.kind import StageKind
from core.training.curves import Point, loss_curve, recovery_curve

NAMES = {"base": "pretraining", "sft": "fine-tuning"}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture beside the card, and what it shows in words."""

    path: str
    svg: str
    alternative: str


def curves(models: Mapping[str, Deliverable]) -> Iterator[Figure]:
    """The curves of every phase that left a trace: those of the base, then those of the fine-tune."""
    for phase, model in models.items():
        stages = model.lineage.of_phase(phase)
        losses = [record for stage in stages for record in model.lineage.trace(stage, "loss.jsonl")]
        if losses:
            yield _loss_figure(phase, model.lineage, stages, losses)
        dropped = model.lineage.of_kind(StageKind.RECALIBRATE)
        if phase == "base" and dropped:
            yield from _recovery_figure(model.lineage, dropped[0])


def _loss_figure(
    phase: str, lineage: Lineage, stages: Sequence[Ancestor], losses: Sequence[dict[str, float]]
) -> Figure:
    measured = [point for stage in stages for point in _series(lineage, stage, "validation_bpb")]
    events = [
        (float(stage.identity["first_step"]), "RoPE dropped") for stage in stages if stage.kind is StageKind.RECALIBRATE
    ]
    said = [f"Loss of {NAMES[phase]}: from {losses[0]['loss']:.3f} to {losses[-1]['loss']:.3f} nats a token"]
    said.append(f"in {len(losses):,} steps")
    if measured:
        came_from = f"from {measured[0][1]:.4f} to" if len(measured) > 1 else "at its end"
        said.append(f"; validation bits per byte {came_from} {measured[-1][1]:.4f}")
    if events:
        said.append(f"; RoPE was dropped before step {events[0][0]:,.0f}")
    return Figure(
        path=f"loss-{phase}.svg",
        svg=loss_curve(NAMES[phase], losses, measured, events),
        alternative=" ".join(said).replace(" ;", ";"),
    )


def _recovery_figure(lineage: Lineage, stage: Ancestor) -> Iterator[Figure]:
    recovery = _series(lineage, stage, "validation_bpb")
    with_rope = stage.metrics.get("drop_bpb_with_rope")
    if recovery and with_rope is not None:
        (_, first), (_, last) = recovery[0], recovery[-1]
        yield Figure(
            path="recovery.svg",
            svg=recovery_curve("recovery from the RoPE drop", with_rope, recovery),
            alternative=(
                f"Validation bits per byte at the RoPE drop: {with_rope:.4f} with RoPE, {first:.4f} without it, "
                f"{last:.4f} after {recovery[-1][0] - recovery[0][0]:,.0f} steps without it"
            ),
        )


def _series(lineage: Lineage, stage: Ancestor, name: str) -> list[Point]:
    records = lineage.trace(stage, "metrics.jsonl")
    return [(record["step"], record[name]) for record in records if name in record]
