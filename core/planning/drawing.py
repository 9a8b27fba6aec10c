"""A plan as an SVG picture: its trunks, forks and what is made of each model, every stage with its state.

The picture is text without scripts and with everything escaped; colours come from the page's style sheet by class.
Symbols say the state too. Every stage links to `#stage-<key>` and tells the rest when it is pointed at.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from core.planning.appearance import appearance, detail
from core.planning.layout import BEHIND, Box, Layout, lay_out
from core.planning.plan import Plan, PlannedStage
from core.planning.title import title
from core.stages.identity import TrainingIdentity
from core.stages.kind import StageKind

LETTER = 5.9  # pixels of an average one in the picture's font size
SHORT = {
    StageKind.SFT: "fine-tune",
    StageKind.LONG_SFT: "fine-tune long",
    StageKind.EVALUATE: "eval",
    StageKind.CORE_METRIC: "CORE",
    StageKind.LONG_CONTEXT: "long",
    StageKind.EXPORT_NATIVE: "nat",
    StageKind.EXPORT_HF: "HF",
    StageKind.EXPORT_TWIN: "twin",
    StageKind.PUBLISH: "publish",
}


def draw(plan: Plan) -> str:
    """The `<svg>` element."""
    layout = lay_out(plan.stages)
    labels = [f'<text class="label" x="{at.x:g}" y="{at.y:g}">{escape(at.text)}</text>' for at in layout.labels]
    parts = [*_lines(layout), *labels, *map(_tile, layout.tiles.values()), *map(_box, layout.boxes.values())]
    return (
        f'<svg class="plan" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {layout.width:g} {layout.height:g}" '
        f'width="{layout.width:g}" height="{layout.height:g}" role="img" aria-label="The stages of the plan">\n'
        + "\n".join(parts)
        + "\n</svg>"
    )


def stage_anchor(planned: PlannedStage) -> str:
    """The fragment under which a page tells more about a stage."""
    return f"stage-{planned.stage.key}"


def hover(planned: PlannedStage) -> str:
    """What is said of a stage when it is pointed at."""
    lines = [
        title(planned.stage),
        f"{appearance(planned.progress).word} {detail(planned.progress)}".rstrip(),
        f"key {planned.stage.key[:12]}",
        f"needed by {', '.join(planned.tags)}",
    ]
    if planned.cost.gpu_hours:
        lines.append(f"about {planned.cost.gpu_hours:,.2f} GPU-hours")
    return "\n".join(lines)


def share_done(planned: PlannedStage) -> float:
    """How much of an unfinished stage its checkpoint holds, 0 to 1."""
    if planned.progress.checkpoint_step is None or not planned.cost.gpu_hours:
        return 0.0
    return 1.0 - planned.remaining.gpu_hours / planned.cost.gpu_hours


def _lines(layout: Layout) -> Iterator[str]:
    """What is made from what; what the tiles hold goes into every trunk, by one line along the left side."""
    supply = max((tile.y + tile.height for tile in layout.tiles.values()), default=0.0) + 4
    for box in layout.boxes.values():
        before = [layout.boxes[need.key] for need in box.planned.stage.needs.values() if need.key in layout.boxes]
        yield from (f'<path class="{_style(one, box)}" d="{_path(one, box)}"/>' for one in before)
        if not before and layout.tiles:
            yield f'<path class="edge" d="M{box.x - 12:g} {supply:g}V{box.middle:g}H{box.x:g}"/>'


def _style(before: Box, box: Box) -> str:
    is_trunk = before.planned.stage.kind is StageKind.PRETRAIN and box.planned.stage.kind is StageKind.PRETRAIN
    is_fork = box.planned.stage.kind is StageKind.RECALIBRATE
    return "trunk" if is_trunk else "fork" if is_fork else "edge"


def _path(before: Box, box: Box) -> str:
    """Straight along a line; otherwise down in the gap behind `before`, where nothing stands."""
    if before.middle == box.middle:
        return f"M{before.right:g} {before.middle:g}H{box.x:g}"
    turn = before.right + 8
    return f"M{before.right:g} {before.middle:g}H{turn:g}V{box.middle:g}H{box.x:g}"


def _tile(box: Box) -> str:
    look = appearance(box.planned.progress)
    return _linked(
        box,
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="3"/>'
        f'<text class="symbol" x="{box.x + box.width / 2:g}" y="{box.middle + 3.5:g}">{look.symbol}</text>',
    )


def _box(box: Box) -> str:
    look, kind = appearance(box.planned.progress), box.planned.stage.kind
    text = f"{look.symbol} {_short(box.planned)}"
    room = int((box.width - 7) / LETTER)
    if len(text) > room:
        text = f"{text[: room - 1]}…"
    done = share_done(box.planned) * box.width
    rounding = 4 if kind in BEHIND else 6
    return _linked(
        box,
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="{rounding}"/>'
        + (
            f'<rect class="done" x="{box.x:g}" y="{box.y:g}" width="{done:g}" height="{box.height:g}" rx="6"/>'
            if done
            else ""
        )
        + f'<text x="{box.x + 5:g}" y="{box.middle + 4:g}">{escape(text)}</text>',
    )


def _linked(box: Box, inside: str) -> str:
    look = appearance(box.planned.progress)
    kind = "segment" if box.planned.stage.kind is StageKind.PRETRAIN else box.planned.stage.kind.value
    return (
        f'<a href="#{stage_anchor(box.planned)}" class="stage {look.name} {kind}">'
        f"<title>{escape(hover(box.planned))}</title>{inside}</a>"
    )


def _short(planned: PlannedStage) -> str:
    identity, kind = planned.stage.identity, planned.stage.kind
    if isinstance(identity, TrainingIdentity):
        steps = f"{identity.first_step:,}–{identity.end_step:,}"
        return steps if kind is StageKind.PRETRAIN else f"no RoPE {steps}"
    if kind is StageKind.PUBLISH and planned.stage.name.endswith("_long"):
        return "publish long"
    return SHORT.get(kind, kind.value)
