"""Rotation depends on relative position only, in nanochat's convention, at any length."""

from __future__ import annotations

from math import cos, sin

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.model.rotary import rotate, rotation

CPU = torch.device("cpu")


def turn(x: torch.Tensor, position: int, base: float = 10_000.0) -> torch.Tensor:
    """Rotate one vector [D] at one position."""
    return rotate(x.view(1, 1, 1, -1), rotation(position, 1, len(x), base, CPU)).flatten()


@settings(max_examples=50, deadline=None)
@given(
    first=st.integers(0, 130_000), second=st.integers(0, 130_000), shift=st.integers(0, 1000), seed=st.integers(0, 99)
)
def test_query_key_products_depend_on_relative_position_only(first: int, second: int, shift: int, seed: int) -> None:
    query, key = torch.randn(2, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    here = turn(query, first) @ turn(key, second)
    there = turn(query, first + shift) @ turn(key, second + shift)
    assert here.item() == pytest.approx(there.item(), abs=1e-5)


def test_component_j_pairs_with_j_plus_half_and_turns_by_minus_the_angle() -> None:
    x = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    fast, slow = 5.0, 5.0 * 10_000**-0.5
    expected = [
        1 * cos(fast) + 3 * sin(fast),
        2 * cos(slow) + 4 * sin(slow),
        -1 * sin(fast) + 3 * cos(fast),
        -2 * sin(slow) + 4 * cos(slow),
    ]
    assert turn(x, 5).tolist() == pytest.approx(expected, abs=1e-6)


def test_angles_are_exact_at_the_last_position_of_the_longest_context() -> None:
    table = rotation(131_071, 1, 128, 100_000.0, CPU)
    assert table.cosine.dtype == torch.float32
    angles = [131_071 * 1e5 ** (-2 * pair / 128) for pair in range(64)]
    assert table.cosine.flatten().tolist() == pytest.approx(2 * [cos(angle) for angle in angles], abs=1e-6)
    assert table.sine.flatten().tolist() == pytest.approx(
        [sin(angle) for angle in angles] + [-sin(angle) for angle in angles], abs=1e-6
    )


def test_bfloat16_is_rotated_in_float32() -> None:
    x = torch.ones(1, 3, 1, 8, dtype=torch.bfloat16)
    assert rotate(x, rotation(1000, 3, 8, 10_000.0, CPU)).dtype == torch.float32
