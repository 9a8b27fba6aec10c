"""The paired bootstrap: what holds of every set of readings, and small ones worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.study.bootstrap import Amount, Bootstrap, Cluster, Reading, mean_of

BOOTSTRAP = Bootstrap(seed=7, resamples=300)
ONE = {"": 1.0}
EXAMPLES = settings(max_examples=30)

amounts = st.builds(Amount, st.floats(0, 1e4), st.integers(1, 1000).map(float))
names = st.lists(st.integers(0, 10_000).map(str), min_size=2, max_size=20, unique=True)


@st.composite
def readings(draw: st.DrawFn) -> tuple[Reading, Reading]:
    """Both sides of a pair on the same clusters."""
    clusters = [Cluster("", name) for name in draw(names)]
    return {one: draw(amounts) for one in clusters}, {one: draw(amounts) for one in clusters}


@EXAMPLES
@given(readings())
def test_the_same_readings_give_the_same_interval(pair: tuple[Reading, Reading]) -> None:
    first, again = (Bootstrap(seed=7, resamples=300).difference(*pair, ONE) for _ in range(2))
    assert first is not None
    assert again is not None
    assert (first.value, first.replicates.interval()) == (again.value, again.replicates.interval())


@EXAMPLES
@given(readings(), st.randoms(use_true_random=False))
def test_the_order_of_pairs_changes_nothing(pair: tuple[Reading, Reading], random: object) -> None:
    treatment, baseline = pair
    shuffled = list(treatment)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    found = BOOTSTRAP.difference(treatment, baseline, ONE)
    other = BOOTSTRAP.difference({one: treatment[one] for one in shuffled}, baseline, ONE)
    assert found is not None
    assert other is not None
    assert (found.value, found.replicates.interval()) == (other.value, other.replicates.interval())


@EXAMPLES
@given(readings())
def test_identical_sides_differ_by_exactly_nothing(pair: tuple[Reading, Reading]) -> None:
    found = BOOTSTRAP.difference(pair[0], pair[0], ONE)
    assert found is not None
    assert (found.value, found.replicates.interval()) == (0.0, (0.0, 0.0))


@EXAMPLES
@given(readings())
def test_swapping_the_sides_negates_the_difference_and_its_interval(pair: tuple[Reading, Reading]) -> None:
    treatment, baseline = pair
    found, swapped = (
        BOOTSTRAP.difference(treatment, baseline, ONE),
        BOOTSTRAP.difference(baseline, treatment, ONE),
    )
    assert found is not None
    assert swapped is not None
    low, high = found.replicates.interval() or (0.0, 0.0)
    assert swapped.value == -found.value
    assert swapped.replicates.interval() == (-high, -low)


def reading(*values: tuple[float, float], stratum: str = "") -> Reading:
    """Clusters 0, 1, 2..."""
    return {Cluster(stratum, str(name)): Amount(*value) for name, value in enumerate(values)}


def test_a_difference_of_ratios_of_sums_worked_out_by_hand() -> None:
    treatment, baseline = reading((10, 4), (20, 6), (3, 2)), reading((8, 4), (14, 6), (3, 2))
    found = BOOTSTRAP.difference(treatment, baseline, ONE)
    assert found is not None
    assert (found.treatment, found.baseline) == (33 / 12, 25 / 12)
    assert found.value == pytest.approx(8 / 12)


def test_two_clusters_give_the_three_samples_that_there_are() -> None:
    treatment, baseline = reading((10, 1), (20, 1)), reading((0, 1), (0, 1))
    found = BOOTSTRAP.difference(treatment, baseline, ONE)
    assert found is not None
    assert set(found.replicates.values.tolist()) == {10.0, 15.0, 20.0}
    assert found.replicates.interval() == (10.0, 20.0)


def test_only_clusters_of_both_sides_count() -> None:
    treatment = reading((1, 1), (1, 1), (1000, 1))
    found = BOOTSTRAP.difference(treatment, reading((0, 1), (0, 1)), ONE)
    assert found is not None
    assert (found.value, found.replicates.clusters) == (1.0, 2)


def test_a_cluster_in_which_one_side_counted_nothing_does_not_count() -> None:
    found = BOOTSTRAP.difference(reading((1, 1), (5, 0)), reading((0, 1), (9, 1)), ONE)
    assert found is not None
    assert (found.value, found.replicates.clusters) == (1.0, 1)
    assert found.replicates.interval() is None


def test_readings_without_a_common_cluster_have_no_difference() -> None:
    assert BOOTSTRAP.difference(reading((1, 1)), {Cluster("", "other"): Amount(1, 1)}, ONE) is None


def test_strata_are_resampled_apart_and_weighted() -> None:
    right = {**reading((1, 1), (1, 1), stratum="a"), **reading((1, 1), (0, 1), stratum="b")}
    wrong = {cluster: Amount(0, 1) for cluster in right}
    found = BOOTSTRAP.difference(right, wrong, {"a": 0.5, "b": 2.0})
    assert found is not None
    assert found.value == 0.5 * 1 + 2.0 * 0.5
    assert set(found.replicates.values.tolist()) == {0.5, 1.5, 2.5}  # all of a are right in every sample
    assert (found.replicates.clusters, found.replicates.strata) == (4, 2)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """200 samples of ten clusters from one distribution: 95 % of 200 is 190, give or take four standard errors."""
    random, covered = np.random.default_rng(3), 0
    for _ in range(200):
        values = random.normal(1.0, 1.0, 10)
        found = BOOTSTRAP.difference(reading(*((value, 1) for value in values)), reading(*[(0, 1)] * 10), ONE)
        assert found is not None
        low, high = found.replicates.interval() or (0.0, 0.0)
        covered += low <= 1.0 <= high
    assert 178 <= covered <= 200


def test_a_mean_of_alike_differences_is_as_uncertain_as_one_of_them() -> None:
    treatment, baseline = reading((10, 4), (20, 6), (3, 2)), reading((8, 4), (14, 6), (3, 2))
    found = BOOTSTRAP.difference(treatment, baseline, ONE)
    assert found is not None
    together = mean_of([found.replicates, found.replicates])
    assert together.interval() == found.replicates.interval()


def test_a_mean_rests_on_the_fewest_clusters() -> None:
    many = BOOTSTRAP.difference(reading(*[(2, 1)] * 9), reading(*[(1, 1)] * 9), ONE)
    few = BOOTSTRAP.difference(reading(*[(2, 1)] * 3), reading(*[(1, 1)] * 3), ONE)
    assert many is not None
    assert few is not None
    assert mean_of([many.replicates, few.replicates]).clusters == 3
