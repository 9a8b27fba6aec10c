"""Small charts as SVG text: lines with intervals, heat maps, points, and intervals below each other.

A chart is 360 pixels wide, so that its letters are readable on a phone, and several stand side by side on a desk. Ink
is `currentColor`: a page in dark colours shows light ink. Everything that comes from outside is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import log2

from core.training.curves import Axis, round_ticks

WIDTH, HEIGHT = 360, 270
LEFT, RIGHT, BOTTOM = 46, 12, 40  # margins, pixels
LEGEND_LINE, ROW, CELL = 17, 34, 40
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito's
FAINT = 'stroke="currentColor" stroke-opacity="0.15"'
DIGIT_PIXELS = 6.2  # a letter in the legend


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A point with its interval, if it has one."""

    x: float
    y: float
    interval: tuple[float, float] | None = None
    text: str = ""  # said when it is pointed at, and written beside a lonely point


@dataclass(frozen=True, kw_only=True)
class Line:
    """Marks that are joined; `colour` is a number in the palette."""

    label: str
    colour: int
    marks: tuple[Mark, ...]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How an axis is called and written; logarithmic ones take positive values."""

    label: str
    is_logarithmic: bool = False
    write: Callable[[float], str] = "{:g}".format
    ticks: tuple[float, ...] = ()  # none: round numbers
    within: tuple[float, float] | None = None  # shared by charts side by side; None: what the marks need

    def place(self, value: float) -> float:
        """Where a value is on an even axis."""
        return log2(value) if self.is_logarithmic else value


@dataclass(frozen=True, kw_only=True)
class Row:
    """One interval of a forest plot; `colour` is None for ink."""

    label: str
    value: float
    interval: tuple[float, float] | None
    written: str
    colour: int | None


def line_chart(lines: Sequence[Line], across: Scale, up: Scale, *, legend_columns: int = 2) -> str:
    """Lines over a common axis, a legend above them."""
    rows = -(-len(lines) // legend_columns)
    top = 14 + LEGEND_LINE * rows + 12
    marks = [mark for line in lines for mark in line.marks]
    horizontal = _axis(across, [mark.x for mark in marks], LEFT + 8, WIDTH - RIGHT - 8)
    vertical = _axis(up, [value for mark in marks for value in _reach(mark)], HEIGHT - BOTTOM, top)
    return picture(
        HEIGHT,
        [
            *_legend([(line.label, line.colour) for line in lines], legend_columns),
            *_frame(across, up, horizontal, vertical, top),
            *(part for line in lines for part in _line(line, across, up, horizontal, vertical)),
        ],
    )


def point_chart(lines: Sequence[Line], across: Scale, up: Scale) -> str:
    """Points that are not joined, each with its name beside it."""
    top = 14 + LEGEND_LINE * -(-len(lines) // 2) + 12
    marks = [mark for line in lines for mark in line.marks]
    horizontal = _axis(across, [mark.x for mark in marks], LEFT + 20, WIDTH - RIGHT - 20)
    vertical = _axis(up, [value for mark in marks for value in _reach(mark)], HEIGHT - BOTTOM, top)
    parts = [*_legend([(line.label, line.colour) for line in lines], 2), *_frame(across, up, horizontal, vertical, top)]
    for line in lines:
        for mark in line.marks:
            parts += _mark(mark, line.colour, across, up, horizontal, vertical, radius=5)
    return picture(HEIGHT, parts)


def heat_map(
    columns: Sequence[str],
    rows: Sequence[str],
    cells: Sequence[Sequence[tuple[float | None, str]]],
    labels: tuple[str, str],
) -> str:
    """Shares from 0 to 1 as squares with their numbers; None is a missing one. `labels` name columns and rows."""
    left, top = 58, 34
    wide = min(64.0, (WIDTH - left - RIGHT) / len(columns))
    parts = [text(left, 13, labels[0], "start"), text(left - 8, 27, labels[1], "end")]
    parts += [text(left + wide * (place + 0.5), 28, name, "middle") for place, name in enumerate(columns)]
    for down, (name, values) in enumerate(zip(rows, cells, strict=True)):
        y = top + down * (CELL - 8)
        parts.append(text(left - 8, y + 20, name, "end"))
        for place, (share, written) in enumerate(values):
            parts += _cell(left + wide * place, y, wide, CELL - 8, share, written)
    return picture(top + len(rows) * (CELL - 8) + 8, parts)


def forest(rows: Sequence[Row], label: str) -> str:
    """Intervals below each other around a line at zero, each under its name and number."""
    reach = [bound for row in rows for bound in (row.interval or (row.value, row.value))] + [0.0]
    low, high = min(reach), max(reach)
    margin = 0.06 * ((high - low) or 1.0)
    axis, bottom = Axis(low - margin, high + margin, 12, WIDTH - 12), 10 + ROW * len(rows)
    values, decimals = round_ticks(axis.low, axis.high)
    values = values[:: -(-len(values) // 6)]
    parts = [rule(axis.pixel(value), 6, axis.pixel(value), bottom) for value in values]
    parts += [text(axis.pixel(value), bottom + 14, f"{value:.{decimals}f}", "middle") for value in values]
    parts.append(rule(axis.pixel(0), 6, axis.pixel(0), bottom, 'stroke="currentColor" stroke-dasharray="3 3"'))
    parts.append(text(WIDTH / 2, bottom + 30, label, "middle"))
    for place, row in enumerate(rows):
        parts += _forest_row(row, axis, 10 + ROW * place)
    return picture(bottom + 38, parts)


def picture(height: float, parts: Sequence[str]) -> str:
    """An `<svg>` element as wide as every chart."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" '
            'font-family="system-ui, sans-serif" font-size="12" fill="currentColor">',
            *parts,
            "</svg>",
        ]
    )


def standalone(svg: str) -> str:
    """The same as a file: black on white wherever it is shown."""
    return svg.replace("<svg ", '<svg style="color:#1c2330;background:#fff" ', 1) + "\n"


def text(x: float, y: float, content: str, anchor: str, more: str = "") -> str:
    """A line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(content)}</text>'


def rule(x: float, y: float, x_end: float, y_end: float, style: str = FAINT) -> str:
    """A straight line."""
    return f'<path d="M{x:.1f} {y:.1f}L{x_end:.1f} {y_end:.1f}" {style}/>'


def _reach(mark: Mark) -> tuple[float, ...]:
    return (mark.y, *(mark.interval or ()))


def _axis(scale: Scale, values: Sequence[float], start: float, end: float) -> Axis:
    reach = scale.within or ((min(values), max(values)) if values else (0.0, 1.0))
    low, high = scale.place(reach[0]), scale.place(reach[1])
    spare = 0.05 * (high - low) if high > low else abs(low) * 0.05 + 1e-3
    return Axis(low - spare, high + spare, start, end)


def _legend(entries: Sequence[tuple[str, int]], columns: int) -> Iterator[str]:
    wide = (WIDTH - 12) / columns
    for place, (label, colour) in enumerate(entries):
        x, y = 8 + wide * (place % columns), 14 + LEGEND_LINE * (place // columns)
        yield f'<circle cx="{x + 5:.1f}" cy="{y - 4}" r="5" fill="{COLOURS[colour % len(COLOURS)]}"/>'
        room = int((wide - 18) / DIGIT_PIXELS)
        yield text(x + 15, y, label if len(label) <= room else f"{label[: room - 1]}…", "start")


def _frame(across: Scale, up: Scale, horizontal: Axis, vertical: Axis, top: float) -> Iterator[str]:
    yield text(8, top - 8, up.label, "start", 'fill-opacity="0.75"')
    yield text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, across.label, "middle", 'fill-opacity="0.75"')
    for value, written in _ticks(up, vertical):
        y = vertical.pixel(up.place(value))
        yield rule(LEFT, y, WIDTH - RIGHT, y)
        yield text(LEFT - 5, y + 4, written, "end")
    for value, written in _ticks(across, horizontal):
        x = horizontal.pixel(across.place(value))
        yield rule(x, top, x, HEIGHT - BOTTOM)
        yield text(x, HEIGHT - BOTTOM + 16, written, "middle")


def _ticks(scale: Scale, axis: Axis) -> list[tuple[float, str]]:
    if scale.ticks:
        return [(value, scale.write(value)) for value in scale.ticks]
    if not scale.is_logarithmic:
        values, decimals = round_ticks(axis.low, axis.high)
        return [(value, f"{value:.{decimals}f}") for value in values[:: -(-len(values) // 6)]]
    low, high = 2**axis.low, 2**axis.high
    powers = [digit * 10.0**power for power in range(-9, 10) for digit in (1, 2, 5)]
    chosen = [value for value in powers if low <= value <= high]
    if len(chosen) < 2:  # less than a decade: even numbers are close enough to evenly spaced
        chosen, _ = round_ticks(low, high)
    return [(value, f"{value:.3g}") for value in chosen[:: -(-len(chosen) // 4)]]


def _line(line: Line, across: Scale, up: Scale, horizontal: Axis, vertical: Axis) -> Iterator[str]:
    colour = COLOURS[line.colour % len(COLOURS)]
    places = [(horizontal.pixel(across.place(one.x)), vertical.pixel(up.place(one.y))) for one in line.marks]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for mark in line.marks:
        yield from _mark(mark, line.colour, across, up, horizontal, vertical, radius=3)


def _mark(
    mark: Mark, colour: int, across: Scale, up: Scale, horizontal: Axis, vertical: Axis, *, radius: float
) -> Iterator[str]:
    x, y = horizontal.pixel(across.place(mark.x)), vertical.pixel(up.place(mark.y))
    shade = COLOURS[colour % len(COLOURS)]
    if mark.interval is not None:
        low, high = (vertical.pixel(up.place(bound)) for bound in mark.interval)
        yield rule(x, low, x, high, f'stroke="{shade}" stroke-opacity="0.55" stroke-width="1.5"')
    said = f"<title>{escape(mark.text)}</title>" if mark.text else ""
    yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{shade}">{said}</circle>'


def _cell(x: float, y: float, wide: float, high: float, share: float | None, written: str) -> Iterator[str]:
    """Darker is more. A missing one is an empty frame."""
    shade = "none" if share is None else COLOURS[0]
    opacity = 0.0 if share is None else 0.08 + 0.92 * min(1.0, max(0.0, share))
    yield (
        f'<rect x="{x + 1:.1f}" y="{y + 1:.1f}" width="{wide - 2:.1f}" height="{high - 2:.1f}" rx="3" fill="{shade}" '
        f'fill-opacity="{opacity:.2f}" {FAINT}/>'
    )
    ink = 'fill="#fff"' if opacity > 0.55 else ""
    yield text(x + wide / 2, y + high / 2 + 4, written, "middle", ink)


def _forest_row(row: Row, axis: Axis, y: float) -> Iterator[str]:
    shade = "currentColor" if row.colour is None else COLOURS[row.colour % len(COLOURS)]
    yield text(12, y + 11, row.label, "start")
    yield text(WIDTH - 12, y + 11, row.written, "end", 'fill-opacity="0.75"')
    at = y + 22
    if row.interval is not None:
        low, high = (axis.pixel(bound) for bound in row.interval)
        yield rule(low, at, high, at, f'stroke="{shade}" stroke-width="2"')
        yield from (rule(x, at - 4, x, at + 4, f'stroke="{shade}" stroke-width="2"') for x in (low, high))
    yield f'<rect x="{axis.pixel(row.value) - 4:.1f}" y="{at - 4:.1f}" width="8" height="8" fill="{shade}"/>'
