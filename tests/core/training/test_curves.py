"""Curves are well-formed SVG for runs of any length, and what they show can be read back from them."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.training.curves import Point, loss_curve, recovery_curve, round_ticks, running_mean


@pytest.mark.parametrize("steps", [0, 1, 5000])
def test_a_curve_of_any_length_is_well_formed_and_inside_its_frame(steps: int) -> None:
    losses = [{"step": step, "loss": 5 - step / 5000} for step in range(steps)]
    validation = [(step, 2.0) for step in range(0, steps, 100)]
    root = ElementTree.fromstring(loss_curve("d18 <9tpp> & more", losses, validation))
    assert "d18 <9tpp> & more" in [element.text for element in root]
    lines = [element for element in root if element.tag.endswith("polyline")]
    assert len(lines) == 3
    for line in lines:
        points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
        assert len(points) <= 1000
        assert all(0 <= x <= 760 and 0 <= y <= 380 for x, y in points)


def test_the_running_mean_starts_at_the_first_value_and_follows_slowly() -> None:
    smoothed = running_mean([(0, 4.0), (1, 4.0), (2, 2.0)])
    assert smoothed[0] == (0, pytest.approx(4.0))
    assert 3.0 < smoothed[2][1] < 4.0


def recoveries() -> st.SearchStrategy[list[Point]]:
    """A drop at any step and the measurements after it, each some steps later than the one before."""
    measured = st.tuples(st.integers(1, 5000), st.floats(0.3, 30))
    return st.builds(
        lambda drop, first, later: [
            (drop, first),
            *((drop + sum(gap for gap, _ in later[: index + 1]), value) for index, (_, value) in enumerate(later)),
        ],
        st.integers(0, 20_000),
        st.floats(0.3, 30),
        st.lists(measured, max_size=60),
    )


def circles(root: ElementTree.Element) -> list[tuple[float, float]]:
    """Where the points are, without the two of the legend."""
    marked = [element for element in root if element.tag.endswith("circle") and len(element)]
    return [(float(element.attrib["cx"]), float(element.attrib["cy"])) for element in marked]


def labels(root: ElementTree.Element, anchor: str) -> dict[str, tuple[float, float]]:
    texts = [element for element in root if element.attrib.get("text-anchor") == anchor]
    return {element.text or "": (float(element.attrib["x"]), float(element.attrib["y"])) for element in texts}


@given(with_rope=st.floats(0.3, 30), recovery=recoveries())
def test_every_measured_value_can_be_read_off_the_recovery_curve(with_rope: float, recovery: list[Point]) -> None:
    root = ElementTree.fromstring(recovery_curve("recalibrate d18 <&>", with_rope, recovery))
    marks = circles(root)
    assert len(marks) == len(recovery)
    ticks = sorted((float(text), y - 5) for text, (_, y) in labels(root, "end").items())
    (low, low_pixel), (high, high_pixel) = ticks[0], ticks[-1]
    per_pixel = (high - low) / (high_pixel - low_pixel)
    (rule,) = [e for e in root if e.attrib.get("stroke-dasharray") and e.attrib["d"].startswith("M60 ")]
    drawn = [y for _, y in marks] + [float(rule.attrib["d"].split()[1].split("H")[0])]
    for pixel, value in zip(drawn, [*(value for _, value in recovery), with_rope], strict=True):
        assert low + (pixel - low_pixel) * per_pixel == pytest.approx(value, abs=0.5 * abs(per_pixel))


@given(with_rope=st.floats(0.3, 30), recovery=recoveries())
def test_steps_since_the_drop_run_from_the_left_to_the_right_and_meet_their_ticks(
    with_rope: float, recovery: list[Point]
) -> None:
    root = ElementTree.fromstring(recovery_curve("recalibrate", with_rope, recovery))
    marks = circles(root)
    assert all(60 <= x <= 464 and 140 <= y <= 374 for x, y in marks)
    assert [x for x, _ in marks] == sorted(x for x, _ in marks)
    ticks = {int(text.replace(",", "")): x for text, (x, _) in labels(root, "middle").items() if text[0].isdigit()}
    assert ticks[0] == marks[0][0] == 60
    for (step, _), (x, _) in zip(recovery, marks, strict=True):
        since = step - recovery[0][0]
        assert x == pytest.approx(ticks.get(int(since), x), abs=0.06)
        assert all((tick < since) == (pixel < x) for tick, pixel in ticks.items() if abs(pixel - x) > 0.06)


def test_the_recovery_curve_says_its_three_numbers_and_the_steps_between_them() -> None:
    recovery = [(4181, 3.512), (4206, 1.75), (8362, 0.83804)]
    root = ElementTree.fromstring(recovery_curve("recalibrate <d20>", 0.8503, recovery))
    texts = [element.text for element in root]
    assert "recalibrate <d20>" in texts
    assert "0.8503 with RoPE, at the drop" in texts
    assert "3.5120 without it, at the drop" in texts
    assert "0.8380 without it, 4,181 steps later" in texts
    assert [mark.text for mark in root.iter() if mark.tag.endswith("title")] == [
        "3.5120 after 0 steps",
        "1.7500 after 25 steps",
        "0.8380 after 4,181 steps",
    ]


def test_letters_of_the_recovery_curve_are_eleven_pixels_or_more_on_a_phone() -> None:
    root = ElementTree.fromstring(recovery_curve("recalibrate", 0.9, [(0, 1.0), (25, 0.9)]))
    width = float(root.attrib["viewBox"].split()[2])
    sizes = {float(element.attrib.get("font-size", root.attrib["font-size"])) for element in root}
    assert min(sizes) * 360 / width >= 11


@given(low=st.floats(-1e6, 1e6), span=st.floats(1e-3, 1e6))
def test_ticks_are_few_round_and_inside_their_range(low: float, span: float) -> None:
    values, decimals = round_ticks(low, low + span)
    assert 3 <= len(values) <= 11
    assert all(low - 1e-6 * span <= value <= low + span * (1 + 1e-6) for value in values)
    assert len({f"{value:.{decimals}f}" for value in values}) == len(values)
