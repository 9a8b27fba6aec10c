"""The lineage of a model, trunk to leaf: as a picture that tells every key, and the same as a plain list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from core.lineage.lineage import TRAINING, Ancestor, Lineage
from core.publishing.card_curves import Figure
from core.publishing.card_markdown import listed
from core.stages.kind import StageKind

LEAVES = (  # of the model
    *(StageKind.EXPORT_NATIVE, StageKind.EXPORT_HF),
    *(StageKind.EVALUATE, StageKind.CORE_METRIC, StageKind.LONG_CONTEXT),
)
FIRST = (StageKind.CORPUS, StageKind.TOKENIZER, StageKind.PACK)
READ_BY_TRAINING = (StageKind.PACK, StageKind.MIXTURE)
MANY = 3  # stages of one kind in a row that stand as one entry

# Drawn small with large letters: 15 of 480 pixels are 11 on a phone 360 wide.
WIDTH, TOP, ROW, LETTERS = 480, 30, 50, 15
MODEL_LANE, OTHER_LANE, TEXT = 22, 46, 66  # pixels from the left
WITH_ROPE, WITHOUT_ROPE, DATA, LEAF = "#0072b2", "#d55e00", "#777", "#009e73"  # Okabe and Ito's, apart for every eye
INK, GREY = "#222", "#555"
LEGEND = (("model with RoPE", WITH_ROPE), ("without", WITHOUT_ROPE), ("data", DATA), ("made of the model", LEAF))
LONGEST = 54  # letters that a row has room for
ELBOW = 16  # pixels over which a line changes lanes


@dataclass(frozen=True)
class Entry:
    """One stage, or many of one kind that follow each other (the shard groups of a stream)."""

    stages: tuple[Ancestor, ...]

    @property
    def first(self) -> Ancestor:
        """The stage that stands for all."""
        return self.stages[0]

    @property
    def name(self) -> str:
        """What people call it."""
        if len(self.stages) == 1:
            return self.first.title
        return f"{self.first.title} and {len(self.stages) - 1} more like it"


def entries(lineage: Lineage) -> list[Entry]:
    """Text and tokenizer, then the chain of training with its chat data, then what is made of the model."""
    groups = [sorted(lineage.of_kind(kind), key=_first_shard) for kind in FIRST]
    found = [entry for group in groups for entry in _entries_of(group)]
    for stage in lineage.training:
        mixtures = [one for one in lineage.of_kind(StageKind.MIXTURE) if one.key in stage.needs]
        found += [Entry((one,)) for one in (*mixtures, stage)]
    return found + [Entry((stage,)) for kind in (*LEAVES, StageKind.DECONTAMINATE) for stage in lineage.of_kind(kind)]


def lineage_list(lineage: Lineage) -> str:
    """Every entry with its key and, for training, its tokens."""
    return listed(f"{entry.name}: `{entry.first.short_key}`{_more(entry.first)}" for entry in entries(lineage))


def lineage_figure(title: str, lineage: Lineage) -> Figure:
    """One line down the left from the first segment to the leaf, in the colour of its positions."""
    told = "; ".join(f"{stage.title} ({stage.short_key})" for stage in lineage.training)
    svg = _Drawing(title, tuple(entries(lineage)), lineage.without_rope).svg()
    return Figure(path="lineage.svg", svg=svg, alternative=f"Lineage of {title}, trunk to leaf: {told}")


def _first_shard(stage: Ancestor) -> int:
    return int(stage.identity.get("first_shard", 0))


def _entries_of(stages: Sequence[Ancestor]) -> list[Entry]:
    return [Entry(tuple(stages))] if len(stages) > MANY else [Entry((stage,)) for stage in stages]


def _more(stage: Ancestor) -> str:
    tokens = stage.metrics.get("tokens") if stage.kind in TRAINING else None
    return f", {tokens:,} tokens" if tokens else "" if stage.is_recorded else ", no longer in the store"


@dataclass(frozen=True)
class _Drawing:
    """A row for each entry; `without_rope` are the keys of models without positions."""

    title: str
    rows: Sequence[Entry]
    without_rope: frozenset[str]

    def svg(self) -> str:
        """The whole picture."""
        height = TOP + ROW * len(self.rows) + 12
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
                f'height="{height}" font-family="sans-serif" font-size="{LETTERS}" role="img">',
                f"<title>Lineage of {escape(self.title)}</title>",
                f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
                *self._legend(),
                *self._lines(),
                *(part for row, entry in enumerate(self.rows) for part in self._marked(row, entry)),
                "</svg>\n",
            ]
        )

    def _legend(self) -> Iterator[str]:
        x = 14
        for text, colour in LEGEND:
            if colour != WITHOUT_ROPE or self.without_rope:
                yield f'<circle cx="{x}" cy="16" r="5" fill="{colour}"/>'
                yield f'<text x="{x + 10}" y="21" font-size="13" fill="{GREY}">{text}</text>'
                x += 32 + 7 * len(text)

    def _lines(self) -> Iterator[str]:
        """From what is read to who reads it, where that tells more than it hides: nearly all read the tokenizer."""
        row_of = {stage.key: row for row, entry in enumerate(self.rows) for stage in entry.stages}
        for row, entry in enumerate(self.rows):
            for before in sorted({row_of[key] for key in entry.first.needs if key in row_of}):
                source, reader = self.rows[before].first.kind, entry.first.kind
                is_read = source in READ_BY_TRAINING and reader in TRAINING
                if source in TRAINING or is_read or {source, reader} <= set(FIRST):
                    yield self._line(before, row)

    def _line(self, before: int, row: int) -> str:
        """Down the lane of what is read, then over to who reads it."""
        source, reader = self.rows[before].first, self.rows[row].first
        end = f"V{_middle(row)}"
        if _lane(source) != _lane(reader):
            end = f"V{_middle(row) - ELBOW}L{_lane(reader)} {_middle(row)}"
        is_trunk = source.kind in TRAINING and reader.kind in TRAINING
        style = f'stroke="{self._colour(reader if is_trunk else source)}" stroke-width="{4 if is_trunk else 1.5}"'
        return f'<path d="M{_lane(source)} {_middle(before)}{end}" fill="none" {style}/>'

    def _marked(self, row: int, entry: Entry) -> Iterator[str]:
        stage, y = entry.first, _middle(row)
        name = entry.name if len(entry.name) <= LONGEST else f"{entry.name[: LONGEST - 1]}…"
        yield (
            f'<circle cx="{_lane(stage)}" cy="{y}" r="{8 if stage.kind in TRAINING else 5}" '
            f'fill="{self._colour(stage)}" stroke="white" stroke-width="2"/>'
        )
        yield f'<text x="{TEXT}" y="{y - 2}" fill="{INK}">{escape(name)}</text>'
        yield (
            f'<text x="{TEXT}" y="{y + 16}" font-size="13" fill="{GREY}">'
            f'<tspan font-family="monospace">{stage.short_key}</tspan>{escape(_more(stage))}</text>'
        )

    def _colour(self, stage: Ancestor) -> str:
        if stage.kind in TRAINING:
            return WITHOUT_ROPE if stage.key in self.without_rope else WITH_ROPE
        return LEAF if stage.kind in LEAVES else DATA


def _middle(row: int) -> int:
    return TOP + ROW * row + ROW // 2


def _lane(stage: Ancestor) -> int:
    return MODEL_LANE if stage.kind in TRAINING else OTHER_LANE
