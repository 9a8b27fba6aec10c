"""Schedules pinned to the table of the seed series: the same at every step for a branch and its sibling."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.recipes.miniseries import finetune_optimization
from core.recipes.recipe import Recipe
from core.recipes.table import find_recipe
from core.training.schedule import (
    finetuning_rates,
    muon_momentum,
    pretraining_rates,
    rate_multiplier,
    warmdown_steps,
    weight_decay_multiplier,
)

HORIZONS = {  # tag -> N, W, first step of the warmdown, branch steps
    "d18_9tpp": (2784, 1810, 974, (696, 1392, 2088)),
    "d18_20tpp": (6187, 4022, 2165, (1547, 3094, 4640)),
    "d20_9tpp": (3763, 2446, 1317, (941, 1882, 2822)),
    "d20_20tpp": (8362, 5435, 2927, (2090, 4181, 6272)),
    "d20_40tpp": (16725, 10871, 5854, (4181, 8362, 12544)),
}
D18 = find_recipe("d18_9tpp").pretraining.optimization


@pytest.mark.parametrize("tag", HORIZONS)
def test_the_warmdown_starts_where_the_seed_series_starts_it(tag: str) -> None:
    steps, warmdown, start, branches = HORIZONS[tag]
    recipe = find_recipe(tag)
    schedule = recipe.pretraining.optimization.schedule
    assert recipe.pretraining.steps == steps
    assert warmdown_steps(schedule, steps) == warmdown
    assert recipe.warmdown_start == start
    assert recipe.cuts[:3] == branches
    assert rate_multiplier(schedule, start, steps) == 1.0
    assert rate_multiplier(schedule, start + 1, steps) < 1.0


@pytest.mark.parametrize("tag", HORIZONS)
def test_branches_begin_with_the_multipliers_of_the_seed_series(tag: str) -> None:
    steps, _, _, branches = HORIZONS[tag]
    optimization = find_recipe(tag).pretraining.optimization
    rates = [pretraining_rates(optimization, step, steps) for step in branches]
    peak = optimization.matrices.weight_decay
    assert [f"{rate.multiplier:.3f}" for rate in rates] == ["1.000", "0.781", "0.415"]
    # a branch is at a whole step: 941 of 3,763 is 25.007 %, which is one unit of the last digit
    assert [rate.weight_decay / peak for rate in rates] == pytest.approx([0.854, 0.500, 0.146], abs=6e-4)
    assert [f"{rate.momentum:.3f}" for rate in rates] == ["0.970", "0.954", "0.927"]


def test_the_rate_warms_up_over_40_steps_and_ends_on_a_twentieth() -> None:
    assert rate_multiplier(D18.schedule, 0, 2784) == 1 / 40
    assert rate_multiplier(D18.schedule, 39, 2784) == 1.0
    assert rate_multiplier(D18.schedule, 2783, 2784) == pytest.approx(0.05, abs=6e-4)


def test_momentum_warms_up_over_400_steps_and_falls_over_the_warmdown() -> None:
    momenta = [muon_momentum(D18.matrices, D18.schedule, step, 2784) for step in (0, 200, 400, 974, 2784)]
    assert momenta == pytest.approx([0.85, 0.91, 0.97, 0.97, 0.90])


def test_weight_decay_is_half_a_cosine_of_the_horizon() -> None:
    assert [weight_decay_multiplier(step, 100) for step in (0, 50, 100)] == pytest.approx([1.0, 0.5, 0.0])
    assert f"{weight_decay_multiplier(974, 2784):.3f}" == "0.727"
    assert f"{weight_decay_multiplier(974, 6187):.3f}" == "0.940"


@pytest.mark.parametrize(
    ("short", "long"), [("d18_9tpp", "d18_20tpp"), ("d20_9tpp", "d20_20tpp"), ("d20_20tpp", "d20_40tpp")]
)
def test_horizons_of_one_depth_share_rates_until_the_shorter_warms_down_but_no_weight_decay_after_step_0(
    short: str, long: str
) -> None:
    plain, longer = find_recipe(short), find_recipe(long)
    optimization, start = plain.pretraining.optimization, plain.warmdown_start
    assert optimization == longer.pretraining.optimization
    for step in range(plain.pretraining.steps):
        here = pretraining_rates(optimization, step, plain.pretraining.steps)
        there = pretraining_rates(optimization, step, longer.pretraining.steps)
        assert (here.multiplier == there.multiplier) == (step <= start), step
        assert (here.momentum == there.momentum) == (step <= start), step
        assert (here.weight_decay == there.weight_decay) == (step == 0), step


def test_a_constant_schedule_has_neither_warmup_nor_warmdown() -> None:
    flat = replace(D18.schedule, warmup_steps=0, warmdown_fraction=0.0)
    assert {rate_multiplier(flat, step, 10) for step in range(10)} == {1.0}


def test_fine_tuning_is_flat_for_half_the_run_then_linear_to_zero_with_constant_decay() -> None:
    optimization = finetune_optimization(D18, batch_scale=2**0.5)
    optimization = replace(optimization, matrices=replace(optimization.matrices, weight_decay=0.01))
    rates = [finetuning_rates(optimization, step, 400) for step in (0, 200, 300, 399)]
    assert [rate.multiplier for rate in rates] == pytest.approx([1.0, 1.0, 0.5, 1 / 200])
    assert [rate.momentum for rate in rates] == pytest.approx([0.85, 0.85 + 0.10 * 2 / 3, 0.95, 0.95])
    assert {rate.weight_decay for rate in rates} == {0.01}


PAIRS = [
    (find_recipe(tag), find_recipe(f"{tag}_drope_{percent}"))
    for tag, percents in {"d18_9tpp": (25, 50, 75), "d20_40tpp": (50,), "tiny": (25, 50, 75)}.items()
    for percent in percents
]


@given(pair=st.sampled_from(PAIRS), position=st.floats(0, 1, exclude_max=True))
def test_a_model_and_its_drope_sibling_have_equal_rates_at_every_step(
    pair: tuple[Recipe, Recipe], position: float
) -> None:
    plain, dropped = (recipe.pretraining for recipe in pair)
    step = int(position * plain.steps)
    ours = pretraining_rates(plain.optimization, step, plain.steps)
    assert ours == pretraining_rates(dropped.optimization, step, dropped.steps)
    assert 0 < ours.multiplier <= 1
    assert plain.optimization.matrices.momentum_start <= ours.momentum <= plain.optimization.matrices.momentum_peak
