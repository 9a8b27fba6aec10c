"""What reading far beyond the trained length costs, against a count by hand and against what is read in truth."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.evaluation.long_context.methods import Methods
from core.evaluation.long_context.needles import KINDS
from core.evaluation.long_context.workload import Reading, readings
from core.model.position_scaling import LogitScale
from core.planning.catalogue import stages_of
from core.planning.cost import stage_cost
from core.planning.speed import Speeds, pace_of, shape_of
from core.planning.stage import Stage
from core.recipes.recipe import RecipeError
from core.recipes.table import find_recipe
from core.stages.kind import StageKind


def long_context_of(tag: str, role: StageKind) -> Stage:
    """The reading stage of the model that a stage of kind `role` makes."""
    return next(
        stage
        for stage in stages_of(tag).values()
        if stage.kind is StageKind.LONG_CONTEXT and stage.inputs["model"].kind is role
    )


def test_reading_costs_a_third_of_training_at_the_length_that_is_read() -> None:
    """d20 without RoPE, by hand: 128 + 5 x 500 texts at 4,096, twice that beyond; for c, 16 texts 13 times."""
    stage = long_context_of("d20_20tpp_drope_50", StageKind.RECALIBRATE)
    shape = shape_of(stage.inputs["model"])
    assert shape is not None
    weights = shape.architecture.scaling_parameters
    by_hand = 0
    for length, texts in ((4096, 2628), (8192, 2 * 2628), (16384, 2 * 2628), (32768, 2 * 2628 + 16 * 13)):
        by_hand += texts * length * (2 * weights + 4 * 1280 * 20 * length)
    cost = stage_cost(stage)
    assert cost.flops == by_hand
    assert cost.tokens == cost.tokens_finetuning == 0
    assert cost.gpu_hours == pytest.approx(by_hand / (0.608 * 989e12) / 3600)


def test_a_model_with_rope_is_read_in_more_ways_than_one_without() -> None:
    measured = find_recipe("d20_20tpp").evaluation.long_context
    assert measured is not None
    kept, dropped = (list(readings(measured, 100, use_rope=use_rope)) for use_rope in (True, False))
    assert kept == [Reading(length=100 * f, texts=2628 * (1 if f == 1 else 4)) for f in (1, 2, 4, 8)]
    assert dropped[-1] == Reading(length=800, texts=16 * 13)
    assert list(readings(replace(measured, factors=(1,)), 100, use_rope=False)) == [Reading(length=100, texts=2628)]


@pytest.mark.parametrize("use_rope", [True, False])
def test_the_texts_counted_are_those_that_the_stage_reads(use_rope: bool) -> None:
    measured = find_recipe("tiny").evaluation.long_context
    assert measured is not None
    scale = LogitScale(coefficient=0.5, trained_length=100)
    methods = Methods(use_rope=use_rope, trained_length=100, logit_scale=None if use_rope else scale)
    texts = measured.documents + len(KINDS) * measured.needle_trials
    read = [Reading(length=100 * factor, texts=texts * len(methods.at(factor))) for factor in measured.factors]
    assert list(readings(measured, 100, use_rope=use_rope))[: len(read)] == read


def test_a_measured_speed_of_training_is_that_of_reading_too() -> None:
    stage = long_context_of("d18_9tpp", StageKind.PRETRAIN)
    shape = pace_of(stage)
    assert shape == shape_of(stage.inputs["model"])
    assert shape is not None
    speeds = Speeds(device="cpu", measured={shape: 1000.0})
    seconds = stage_cost(stage).flops / (1000.0 * shape.architecture.flops_per_token)
    assert stage_cost(stage, speeds).gpu_hours == pytest.approx(seconds / 3600)
    with pytest.raises(RecipeError, match="nothing is known of the speed of cpu"):
        stage_cost(stage, Speeds(device="cpu"))
