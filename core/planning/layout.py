"""Where each stage of a plan stands when drawn: a column for each depth of dependency, a band for each base model.

The trunk of a family is one straight line; models that leave it are bands below, those that leave last come first, so
that no fork crosses another. In a band, each model (base, fine-tunes) has a line, and what is made of it stands behind.
Stages before any model (corpus, tokenizer, packed rows, mixtures) are many and alike: they are tiles of their own.
Lengths are pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from core.planning.plan import PlannedStage
from core.planning.stage import Stage
from core.stages.kind import StageKind

TILES = (
    *(StageKind.CORPUS, StageKind.TOKENIZER, StageKind.PACK),
    *(StageKind.MIXTURE, StageKind.QUESTIONS, StageKind.CORE_BUNDLE, StageKind.DECONTAMINATE),
)
EXPORTS = (StageKind.EXPORT_NATIVE, StageKind.EXPORT_HF, StageKind.EXPORT_TWIN)
BEHIND = (
    StageKind.EVALUATE,
    StageKind.CORE_METRIC,
    StageKind.LONG_CONTEXT,
    *EXPORTS,
)  # share one place behind their model

MARGIN, COLUMN, BOX = 24, 158, 140  # a column is a box and the gap behind it
LINE, HEIGHT, LABEL, BAND_GAP = 30, 24, 18, 10
TILE, TILE_STEP, TILES_IN_ROW, GROUP_GAP = 14, 17, 17, 26


@dataclass(frozen=True, kw_only=True)
class Box:
    """One stage; (x, y) is its upper left corner."""

    planned: PlannedStage
    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """The height at which lines meet it."""
        return self.y + self.height / 2

    @property
    def right(self) -> float:
        """Where lines leave it."""
        return self.x + self.width


@dataclass(frozen=True, kw_only=True)
class Label:
    """A heading in the drawing."""

    text: str
    x: float
    y: float


@dataclass
class Layout:
    """Boxes by key, and the size of the whole."""

    tiles: dict[str, Box] = field(default_factory=dict)
    boxes: dict[str, Box] = field(default_factory=dict)
    labels: list[Label] = field(default_factory=list)
    width: float = 0.0
    height: float = 0.0


def lay_out(stages: Sequence[PlannedStage]) -> Layout:
    """Place every stage; `stages` needs first."""
    layout, depth = Layout(), _depths(stages)
    bottom = _place_tiles(layout, [planned for planned in stages if planned.stage.kind in TILES])
    others = [planned for planned in stages if planned.stage.kind not in TILES]
    first = min((depth[planned.stage.key] for planned in others), default=0)
    columns = {planned.stage.key: depth[planned.stage.key] - first for planned in others}
    for band in _bands(others, columns):
        bottom = _place_band(layout, band, columns, bottom + BAND_GAP)
    placed = [*layout.tiles.values(), *layout.boxes.values()]
    layout.width = max((box.right for box in placed), default=0.0) + MARGIN
    layout.height = bottom + MARGIN
    return layout


@dataclass
class _Band:
    """The stages of one base model. `lines`: key of a model -> its line; all segments of a trunk are on the first."""

    name: str
    column: int  # where it begins
    stages: list[PlannedStage] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)
    forks: list[_Band] = field(default_factory=list)


def _bands(stages: Sequence[PlannedStage], columns: dict[str, int]) -> list[_Band]:
    """Trunks in the order of the plan, each followed by its forks, the last to leave first."""
    trunks: list[_Band] = []
    band_of: dict[str, _Band] = {}
    for planned in stages:
        stage, model = planned.stage, _model_behind(planned.stage)
        parent = None if model is None else band_of.get(model.key)
        if parent is None:
            band = _Band(_band_name(stage), columns[stage.key])
            trunks.append(band)
        elif stage.kind is StageKind.RECALIBRATE:
            band = _Band(_band_name(stage), columns[stage.key])
            parent.forks.append(band)
        else:
            band = parent
        band_of[stage.key] = band
        band.stages.append(planned)
        band.lines[stage.key] = _line(band, stage, model)
    ordered = []
    for trunk in trunks:
        ordered += [trunk, *sorted(trunk.forks, key=lambda fork: -fork.column)]
    return ordered


def _line(band: _Band, stage: Stage, model: Stage | None) -> int:
    """Fine-tunes begin lines of their own; everything else continues that of the model it is made from."""
    if stage.kind in (StageKind.SFT, StageKind.LONG_SFT):
        return max(band.lines.values(), default=0) + 1
    if stage.kind is StageKind.PUBLISH:
        return sum(planned.stage.kind is StageKind.PUBLISH for planned in band.stages) - 1
    return band.lines.get(model.key, 0) if model is not None else 0


def _model_behind(stage: Stage) -> Stage | None:
    """What it is made from besides tiles: a model, or for a publication the first of its deliverables."""
    return next((need for need in stage.needs.values() if need.kind not in TILES), None)


def _band_name(stage: Stage) -> str:
    return stage.name.rsplit("-", 2)[0] if stage.kind is StageKind.PRETRAIN else stage.name


def _depths(stages: Iterable[PlannedStage]) -> dict[str, int]:
    """The longest path from a stage that needs nothing, in stages."""
    depth: dict[str, int] = {}
    for planned in stages:
        needs = planned.stage.needs.values()
        depth[planned.stage.key] = 1 + max((depth.get(need.key, -1) for need in needs), default=-1)
    return depth


def _place_tiles(layout: Layout, stages: Sequence[PlannedStage]) -> float:
    """One block for each kind, side by side; return where the blocks end."""
    x, bottom = float(MARGIN), float(MARGIN)
    for kind in TILES:
        group = [planned for planned in stages if planned.stage.kind is kind]
        if not group:
            continue
        text = f"{kind.value} {len(group)}" if len(group) > 1 else kind.value
        layout.labels.append(Label(text=text, x=x, y=MARGIN + LABEL - 6))
        for place, planned in enumerate(group):
            row, column = divmod(place, TILES_IN_ROW)
            left, top = x + column * TILE_STEP, MARGIN + LABEL + row * TILE_STEP
            layout.tiles[planned.stage.key] = Box(planned=planned, x=left, y=top, width=TILE, height=TILE)
            bottom = max(bottom, top + TILE)
        x += max(min(len(group), TILES_IN_ROW) * TILE_STEP, 7 * len(text)) + GROUP_GAP
    return bottom


def _place_band(layout: Layout, band: _Band, columns: dict[str, int], top: float) -> float:
    """Return where the band ends."""
    layout.labels.append(Label(text=band.name, x=MARGIN + band.column * COLUMN, y=top + LABEL - 5))
    places: dict[tuple[int, int], list[PlannedStage]] = {}
    for planned in band.stages:
        places.setdefault((band.lines[planned.stage.key], columns[planned.stage.key]), []).append(planned)
    for (line, column), here in places.items():
        share = (BOX - 4 * (len(here) - 1)) / len(here)
        for index, planned in enumerate(sorted(here, key=_place_in_line)):
            layout.boxes[planned.stage.key] = Box(
                planned=planned,
                x=MARGIN + column * COLUMN + index * (share + 4),
                y=top + LABEL + line * LINE,
                width=share,
                height=HEIGHT,
            )
    return top + LABEL + (max(line for line, _ in places) + 1) * LINE


def _place_in_line(planned: PlannedStage) -> int:
    kind = planned.stage.kind
    return BEHIND.index(kind) if kind in BEHIND else -1
