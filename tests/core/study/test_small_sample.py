"""Student's t and how far an interval of few clusters reaches, against printed tables."""

from __future__ import annotations

from statistics import NormalDist

import pytest

from core.study.small_sample import student_quantile, tail_level


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.7062), (2, 4.3027), (3, 3.1824), (5, 2.5706), (10, 2.2281), (120, 1.9799)]
)
def test_quantiles_are_those_of_printed_tables(freedom: int, quantile: float) -> None:
    assert student_quantile(freedom) == pytest.approx(quantile, abs=5e-5)


def test_many_clusters_leave_out_what_the_normal_distribution_leaves_out() -> None:
    assert tail_level(100_000) == pytest.approx(0.025, abs=1e-4)


def test_the_level_is_that_of_the_formula_written_out() -> None:
    wanted = NormalDist().cdf(-((10 / 9) ** 0.5) * 2.2622)  # t(0.975, 9)
    assert tail_level(10) == pytest.approx(wanted, rel=1e-3)


def test_fewer_clusters_reach_further_out() -> None:
    levels = [tail_level(clusters) for clusters in (2, 3, 6, 20, 500)]
    assert levels == sorted(levels)


def test_as_many_strata_as_clusters_are_refused() -> None:
    with pytest.raises(ValueError, match="no spread"):
        tail_level(3, strata=3)
