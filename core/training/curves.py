"""A loss curve as SVG text: every step's loss, its running mean, and validation bits per byte on an axis of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]  # (step, value)

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 56, 56, 40, 36  # margins, pixels
MAXIMUM_POINTS = 1000  # a line of more is thinned: the eye cannot tell
SMOOTHING = 0.95  # weight of the past in the running mean
FAINT, STRONG, MEASURED = "#c9d3e6", "#1f4e9c", "#c2571a"


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


def loss_curve(title: str, losses: Sequence[dict[str, float]], validation: Sequence[Point]) -> str:
    """Draw losses ({"step", "loss"}, nats) on the left axis and validation bits per byte on the right one."""
    raw = [(record["step"], record["loss"]) for record in losses]
    steps = [step for step, _ in (*raw, *validation)]
    horizontal = _axis(steps, LEFT, WIDTH - RIGHT)
    left = _axis([value for _, value in raw], HEIGHT - BOTTOM, TOP)
    right = _axis([value for _, value in validation], HEIGHT - BOTTOM, TOP)
    marks = "".join(
        f'<circle cx="{horizontal.pixel(step):.1f}" cy="{right.pixel(value):.1f}" r="3" fill="{MEASURED}"/>'
        for step, value in validation
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
            'font-size="11">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            f'<text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>',
            f'<text x="{LEFT}" y="34" fill="{STRONG}">training loss (nats)</text>',
            f'<text x="{WIDTH - RIGHT}" y="34" fill="{MEASURED}" text-anchor="end">validation bits per byte</text>',
            *(_label(LEFT - 6, left.pixel(value) + 4, f"{value:.2f}", "end") for value in left.ticks()),
            *(_label(WIDTH - RIGHT + 6, right.pixel(value) + 4, f"{value:.2f}", "start") for value in right.ticks()),
            *(_label(horizontal.pixel(step), HEIGHT - 14, f"{step:.0f}", "middle") for step in horizontal.ticks()),
            _line(raw, horizontal, left, FAINT),
            _line(running_mean(raw), horizontal, left, STRONG),
            _line(validation, horizontal, right, MEASURED) + marks,
            "</svg>\n",
        ]
    )


def running_mean(points: Sequence[Point]) -> list[Point]:
    """Exponential mean of the values, corrected for its start."""
    mean, smoothed = 0.0, []
    for index, (step, value) in enumerate(points):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        smoothed.append((step, mean / (1 - SMOOTHING ** (index + 1))))
    return smoothed


def _axis(values: Sequence[float], start: float, end: float) -> Axis:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    return Axis(low, high if high > low else low + 1.0, start, end)


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#555">{text}</text>'


def _line(points: Sequence[Point], horizontal: Axis, vertical: Axis, colour: str) -> str:
    every = -(-len(points) // MAXIMUM_POINTS) or 1
    path = " ".join(f"{horizontal.pixel(x):.1f},{vertical.pixel(y):.1f}" for x, y in points[::every])
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
