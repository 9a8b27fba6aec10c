"""A training stage as a page: its curves, and a table of its last measurements. While it runs, and when it is over.

Both of Prefect's user interfaces show an SVG in Markdown only as an image whose URL holds the picture.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence

from core.publishing.card_markdown import picture, table
from core.training.curves import loss_curve

LOSS, BPB, RATE = "loss", "validation_bpb", "tokens_per_second"
COLUMNS = {  # shown where there are any: name, head, how a number is written
    LOSS: ("loss (nats)", ".4f"),
    BPB: ("validation bits per byte", ".4f"),
    "validation_bpb_forward": ("forward", ".4f"),
    "validation_bpb_backward": ("backward", ".4f"),
    RATE: ("tokens/s", ",.0f"),
}
ROWS = 12
VIEW_BOX = re.compile(r'viewBox="0 0 (\d+) (\d+)"')

Record = tuple[int, Mapping[str, float]]  # step, what was measured at it


def training_page(title: str, standing: str, records: Sequence[Record], pictures: Mapping[str, str]) -> str:
    """Markdown; `standing` says how far the stage is, `pictures` are further SVGs by what they show."""
    losses = [{"step": step, "loss": values[LOSS]} for step, values in records if LOSS in values]
    validation = [(step, values[BPB]) for step, values in records if BPB in values]
    sections = [
        standing,
        picture(_url(loss_curve(title, losses, validation)), "training loss and validation bits per byte by step"),
        *_last_rows(records),
        *_at_the_drop(records),
        *(picture(_url(svg), text) for text, svg in pictures.items()),
    ]
    return "\n\n".join(sections)


def _url(svg: str) -> str:
    """The picture at its own size: without one, the interfaces stretch it to the width of the page."""
    sized = VIEW_BOX.sub(r'width="\1" height="\2" \g<0>', svg, count=1)
    return f"data:image/svg+xml;base64,{b64encode(sized.encode()).decode()}"


def _at_the_drop(records: Iterable[Record]) -> Iterator[str]:
    for step, values in records:
        if "drop_bpb_with_rope" in values:
            with_rope, without = values["drop_bpb_with_rope"], values["drop_bpb_without_rope"]
            yield (
                f"At step {step:,} RoPE was dropped: {with_rope:.4f} bits per byte with it, {without:.4f} without it."
            )


def _last_rows(records: Sequence[Record]) -> Iterator[str]:
    """The last measurements of the model, each beside what its steps last came to, and the newest step."""
    rows: dict[int, dict[str, float]] = {}
    latest: dict[str, float] = {}
    for step, values in records:
        rows[step] = {**latest, **rows.get(step, {}), **values}
        latest |= {name: values[name] for name in (LOSS, RATE) if name in values}
    measured = [step for step, values in rows.items() if BPB in values] or list(rows)
    newest = list(rows)[-1:]
    chosen = list(dict.fromkeys([*measured[-ROWS:], *newest]))
    names = [name for name in COLUMNS if any(name in rows[step] for step in chosen)]
    if chosen:
        yield table(
            ("step", *(COLUMNS[name][0] for name in names)),
            [(f"{step:,}", *(_number(rows[step], name) for name in names)) for step in chosen],
        )


def _number(values: Mapping[str, float], name: str) -> str:
    return format(values[name], COLUMNS[name][1]) if name in values else ""
