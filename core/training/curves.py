"""What a training stage leaves to look at, as SVG text.

- the loss curve: every step's loss, its running mean, and validation bits per byte on an axis of its own.
- the recovery curve: validation bits per byte from the step on at which RoPE is dropped, next to what it was with RoPE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log1p, log10

Point = tuple[float, float]  # (step, value)

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 56, 56, 40, 36  # margins, pixels
MAXIMUM_POINTS = 1000  # a line of more is thinned: the eye cannot tell
SMOOTHING = 0.95  # weight of the past in the running mean
FAINT, STRONG, MEASURED = "#c9d3e6", "#1f4e9c", "#c2571a"

# The recovery curve is drawn small with large letters: 16 of 480 pixels are 12 on a phone 360 wide.
PHONE_WIDTH, PHONE_HEIGHT, PHONE_LETTERS = 480, 430, 16
FRAME_LEFT, FRAME_RIGHT, FRAME_TOP, FRAME_BOTTOM = 60, 464, 140, 374  # where the curve is, pixels
TICK_SPACING = 56  # between the numbers below, pixels
WITH_ROPE, WITHOUT_ROPE = "#0072b2", "#d55e00"  # Okabe and Ito's blue and vermilion: apart for every colour vision
INK, GREY, GRID = "#222", "#555", "#ddd"
DASHED = 'stroke-width="2" stroke-dasharray="8 5"'
FULL = f'r="3" fill="{WITHOUT_ROPE}"'  # a measurement without RoPE
HOLLOW = f'r="4.5" fill="white" stroke="{WITHOUT_ROPE}" stroke-width="2"'  # the one at the drop


@dataclass(frozen=True)
class Axis:
    """Maps values [low, high] to pixels [start, end]."""

    low: float
    high: float
    start: float
    end: float

    def pixel(self, value: float) -> float:
        """Position of `value`."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Five values, evenly spaced."""
        return [self.low + (self.high - self.low) * index / 4 for index in range(5)]


@dataclass(frozen=True)
class LogarithmicAxis(Axis):
    """Maps steps since an event at 0 by log(1 + steps / unit): the first measurements have room, the last are on it."""

    unit: float  # steps until the first measurement

    @classmethod
    def of(cls, steps: Sequence[float], start: float, end: float) -> LogarithmicAxis:
        """Hold `steps`, which begin at 0."""
        unit = steps[1] if len(steps) > 1 else 1.0
        return cls(0.0, max(steps[-1], unit), start, end, unit)

    def pixel(self, value: float) -> float:
        """Position of `value` >= 0."""
        return self.start + log1p(value / self.unit) / log1p(self.high / self.unit) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """0 and the round numbers that have room for their digits."""
        chosen = [0.0]
        for exponent in range(ceil(log10(self.high)) + 1):
            for value in (10.0**exponent, 2 * 10.0**exponent, 5 * 10.0**exponent):
                if value <= self.high and self.pixel(value) - self.pixel(chosen[-1]) >= TICK_SPACING:
                    chosen.append(value)
        return chosen


def loss_curve(
    title: str,
    losses: Sequence[dict[str, float]],
    validation: Sequence[Point],
    events: Sequence[tuple[float, str]] = (),
) -> str:
    """Draw losses ({"step", "loss"}, nats) on the left axis and validation bits per byte on the right one.

    `events` are steps with what happened before them: each a vertical line with its name.
    """
    raw = [(record["step"], record["loss"]) for record in losses]
    steps = [step for step, _ in (*raw, *validation)]
    horizontal = _axis(steps, LEFT, WIDTH - RIGHT)
    left = _axis([value for _, value in raw], HEIGHT - BOTTOM, TOP)
    right = _axis([value for _, value in validation], HEIGHT - BOTTOM, TOP)
    marks = "".join(
        f'<circle cx="{horizontal.pixel(step):.1f}" cy="{right.pixel(value):.1f}" r="3" fill="{MEASURED}"/>'
        for step, value in validation
    )
    return _picture(
        (WIDTH, HEIGHT),
        11,
        [
            f'<text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>',
            f'<text x="{LEFT}" y="34" fill="{STRONG}">training loss (nats)</text>',
            f'<text x="{WIDTH - RIGHT}" y="34" fill="{MEASURED}" text-anchor="end">validation bits per byte</text>',
            *(_label(LEFT - 6, left.pixel(value) + 4, f"{value:.2f}", "end") for value in left.ticks()),
            *(_label(WIDTH - RIGHT + 6, right.pixel(value) + 4, f"{value:.2f}", "start") for value in right.ticks()),
            *(_label(horizontal.pixel(step), HEIGHT - 14, f"{step:.0f}", "middle") for step in horizontal.ticks()),
            *(_event(horizontal.pixel(step), text) for step, text in events),
            _line(raw, horizontal, left, FAINT),
            _line(running_mean(raw), horizontal, left, STRONG),
            _line(validation, horizontal, right, MEASURED) + marks,
        ],
    )


def recovery_curve(title: str, with_rope: float, recovery: Sequence[Point]) -> str:
    """Draw how a model recovers from the loss of RoPE, in validation bits per byte.

    `recovery` is measured without RoPE and begins at the drop, before the first step without it; `with_rope` is the
    same weights' value with RoPE there. Every point is marked, and a tooltip says its numbers.
    """
    drop = recovery[0][0]
    since = [(step - drop, value) for step, value in recovery]
    horizontal = LogarithmicAxis.of([step for step, _ in since], FRAME_LEFT, FRAME_RIGHT)
    values = [with_rope, *(value for _, value in since)]
    margin = max(0.005, 0.1 * (max(values) - min(values)))
    vertical = Axis(min(values) - margin, max(values) + margin, FRAME_BOTTOM, FRAME_TOP)
    return _picture(
        (PHONE_WIDTH, PHONE_HEIGHT),
        PHONE_LETTERS,
        [
            *_recovery_legend(title, with_rope, since),
            *_recovery_frame(horizontal, vertical),
            _rule(vertical.pixel(with_rope), WITH_ROPE, DASHED),
            _line(since, horizontal, vertical, WITHOUT_ROPE),
            *(_recovery_mark(point, horizontal, vertical) for point in since),
        ],
    )


def _recovery_legend(title: str, with_rope: float, since: Sequence[Point]) -> list[str]:
    (_, first), (steps, last) = since[0], since[-1]
    return [
        f'<text x="12" y="24" font-weight="bold" fill="{INK}">{escape(title)}</text>',
        f'<path d="M12 46h32" stroke="{WITH_ROPE}" {DASHED}/>',
        _label(54, 52, f"{with_rope:.4f} with RoPE, at the drop", "start", INK),
        f'<circle cx="28" cy="70" {HOLLOW}/>',
        _label(54, 76, f"{first:.4f} without it, at the drop", "start", INK),
        f'<path d="M12 94h32" stroke="{WITHOUT_ROPE}" stroke-width="1.5"/><circle cx="28" cy="94" {FULL}/>',
        _label(54, 100, f"{last:.4f} without it, {steps:,.0f} steps later", "start", INK),
        _label(12, FRAME_TOP - 12, "validation bits per byte", "start"),
        _label((FRAME_LEFT + FRAME_RIGHT) / 2, PHONE_HEIGHT - 12, "steps since the drop, logarithmic", "middle"),
    ]


def _recovery_frame(horizontal: LogarithmicAxis, vertical: Axis) -> list[str]:
    values, decimals = round_ticks(vertical.low, vertical.high)
    return [
        *(_rule(vertical.pixel(value), GRID, 'stroke-width="1"') for value in values),
        *(_label(FRAME_LEFT - 10, vertical.pixel(value) + 5, f"{value:.{decimals}f}", "end") for value in values),
        *(_label(horizontal.pixel(step), FRAME_BOTTOM + 20, f"{step:,.0f}", "middle") for step in horizontal.ticks()),
    ]


def _recovery_mark(point: Point, horizontal: Axis, vertical: Axis) -> str:
    steps, value = point
    return (
        f'<circle cx="{horizontal.pixel(steps):.2f}" cy="{vertical.pixel(value):.2f}" '
        f"{FULL if steps else HOLLOW}>"
        f"<title>{value:.4f} after {steps:,.0f} steps</title></circle>"
    )


def running_mean(points: Sequence[Point]) -> list[Point]:
    """Exponential mean of the values, corrected for its start."""
    mean, smoothed = 0.0, []
    for index, (step, value) in enumerate(points):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        smoothed.append((step, mean / (1 - SMOOTHING ** (index + 1))))
    return smoothed


def round_ticks(low: float, high: float) -> tuple[list[float], int]:
    """Four to ten multiples of 1, 2 or 5 times a power of ten in [low, high], and the decimals that they need."""
    power = floor(log10((high - low) / 4))
    step = next((step for step in (5, 2) if step * 10.0**power <= (high - low) / 4), 1)
    first, last = ceil(low / (step * 10.0**power)), floor(high / (step * 10.0**power))
    return [index * step * 10.0**power for index in range(first, last + 1)], max(0, -power)


def _axis(values: Sequence[float], start: float, end: float) -> Axis:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    return Axis(low, high if high > low else low + 1.0, start, end)


def _picture(size: tuple[int, int], letters: int, elements: Sequence[str]) -> str:
    width, height = size
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
            f'font-size="{letters}">',
            f'<rect width="{width}" height="{height}" fill="white"/>',
            *elements,
            "</svg>\n",
        ]
    )


def _label(x: float, y: float, text: str, anchor: str, colour: str = GREY) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{text}</text>'


def _rule(y: float, colour: str, style: str) -> str:
    return f'<path d="M{FRAME_LEFT} {y:.2f}H{FRAME_RIGHT}" stroke="{colour}" {style}/>'


def _event(x: float, text: str) -> str:
    line = f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="{GREY}" stroke-dasharray="4 4"/>'
    return line + _label(x + 6, HEIGHT - BOTTOM - 8, escape(text), "start")


def _line(points: Sequence[Point], horizontal: Axis, vertical: Axis, colour: str) -> str:
    every = -(-len(points) // MAXIMUM_POINTS) or 1
    path = " ".join(f"{horizontal.pixel(x):.1f},{vertical.pixel(y):.1f}" for x, y in points[::every])
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
