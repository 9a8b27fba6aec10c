"""The loss curve is well-formed SVG, also for runs of no, one or very many steps."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from core.training.curves import loss_curve, running_mean


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
