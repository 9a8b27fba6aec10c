"""What stages cost: exact for base models, close to what is documented for fine-tunes, scaled by the device."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.planning.catalogue import stages_of
from core.planning.cost import Cost, Terms, finetuning_steps, stage_cost
from core.planning.size import estimated_bytes
from core.planning.speed import ASSUMED, Speeds, shape_of
from core.planning.stage import Stage
from core.recipes.recipe import RecipeError
from core.recipes.table import recipes
from core.stages.kind import StageKind


def only(tag: str, kind: StageKind) -> Stage:
    return next(stage for stage in stages_of(tag).values() if stage.kind is kind)


def test_the_assumed_fine_tunes_have_the_documented_lengths() -> None:
    for tag in ("d18_20tpp_long", "d20_40tpp_drope_50_long"):
        normal, long = only(tag, StageKind.SFT), only(tag, StageKind.LONG_SFT)
        assert 430 <= finetuning_steps(normal) <= 480
        added = (finetuning_steps(long) - finetuning_steps(normal)) * 2**20
        assert 0.1e9 <= added <= 0.16e9  # 100,000 and 150,000 rows


def test_a_packed_mixture_says_how_long_the_fine_tune_is() -> None:
    tuned = only("tiny", StageKind.SFT)
    assert finetuning_steps(tuned, lambda _mixture: 508) == 64  # 256 of 2,048 tokens each
    assert finetuning_steps(tuned, lambda _mixture: 512) == 64
    assert stage_cost(tuned, packed=lambda _mixture: 513).tokens_finetuning == 65 * 2048


def test_a_fine_tune_counts_no_pretraining_tokens_but_hours() -> None:
    cost = stage_cost(only("d20_9tpp", StageKind.SFT))
    assert cost.tokens == 0
    assert cost.tokens_finetuning == finetuning_steps(only("d20_9tpp", StageKind.SFT)) * 2**20
    assert 30 <= 60 * cost.gpu_hours <= 90  # minutes, by the card of the series


def test_base_models_take_the_hours_that_the_seed_series_took() -> None:
    """4 hours for d18 at 9 tokens a parameter on one H100, in FP8."""
    d18 = [stage_cost(stage) for stage in stages_of("d18_9tpp").values() if stage.kind is StageKind.PRETRAIN]
    assert sum(d18, Cost()).gpu_hours == pytest.approx(4.0, rel=0.05)


def test_a_checkpoint_leaves_the_steps_after_it() -> None:
    segment = [stage for stage in stages_of("tiny").values() if stage.kind is StageKind.PRETRAIN][1]
    whole, rest = stage_cost(segment), stage_cost(segment, ASSUMED, 105)
    assert (whole.tokens, rest.tokens) == (70 * 2048, 35 * 2048)
    assert rest.gpu_hours == pytest.approx(whole.gpu_hours / 2)
    assert stage_cost(segment, ASSUMED, 140) == Cost()
    tuned = only("tiny", StageKind.SFT)
    assert stage_cost(tuned, ASSUMED, 10_000) == Cost()  # the assumed length was too short: nothing negative is left


def test_a_measured_speed_replaces_the_assumed_one_for_its_shape_alone() -> None:
    segment, tuned = only("d18_9tpp", StageKind.PRETRAIN), only("d18_9tpp", StageKind.SFT)
    shape = shape_of(segment)
    assert shape is not None
    speeds = Speeds(device="H100", measured={shape: 100_000.0})
    assert speeds.of(shape).basis == "measured"
    assert stage_cost(segment, speeds).gpu_hours == stage_cost(segment).tokens / 100_000 / 3600
    assert stage_cost(tuned, speeds) == stage_cost(tuned)


def test_longer_rows_and_another_precision_are_another_shape() -> None:
    shapes = [
        shape_of(only("d18_20tpp_long", kind)) for kind in (StageKind.PRETRAIN, StageKind.SFT, StageKind.LONG_SFT)
    ]
    assert len({shape.name for shape in shapes if shape}) == 3
    assert shape_of(only("tiny", StageKind.SFT)) == shape_of(only("tiny", StageKind.PRETRAIN))
    assert shape_of(only("tiny", StageKind.TOKENIZER)) is None


def test_an_assumption_scales_with_the_peak_of_the_device() -> None:
    segment = only("d18_9tpp", StageKind.PRETRAIN)
    ratio = stage_cost(segment, Speeds(device="A100")).gpu_hours / stage_cost(segment, Speeds(device="H100")).gpu_hours
    assert ratio == pytest.approx(989 / 312)
    with pytest.raises(RecipeError, match="nothing is known of the speed of cpu"):
        stage_cost(segment, Speeds(device="cpu"))


def test_gpus_shorten_the_wait_and_not_the_bill() -> None:
    cost = Cost(gpu_hours=16.0)
    terms = Terms(gpus=8, dollars_per_gpu_hour=2.5)
    assert (terms.wall_hours(cost), terms.dollars(cost)) == (2.0, 40.0)


@pytest.mark.parametrize(("tag", "weights", "optimizer"), [("d18_9tpp", 1.37e9, 1.60e9), ("d20_9tpp", 1.84e9, 2.09e9)])
def test_estimated_sizes_are_the_documented_ones(tag: str, weights: float, optimizer: float) -> None:
    recipe = recipes()[tag]
    for kind in (StageKind.PRETRAIN, StageKind.SFT, StageKind.EXPORT_NATIVE):
        assert estimated_bytes(only(tag, kind), recipe) == pytest.approx(weights + optimizer, rel=0.01)
    exported = estimated_bytes(only(tag, StageKind.EXPORT_HF), recipe)
    assert exported == 2 * recipe.architecture.total_parameters
    assert estimated_bytes(only(tag, StageKind.EVALUATE), recipe) is None
    assert estimated_bytes(only(tag, StageKind.PUBLISH), recipe) is None


def test_a_pack_takes_two_bytes_a_token() -> None:
    recipe = recipes()["d20_9tpp"]
    pack = only("d20_9tpp", StageKind.PACK)
    expected = 2 * 8 * recipe.corpus.tokens_per_shard
    assert estimated_bytes(pack, recipe) == pytest.approx(expected, rel=1e-3)
    large = replace(
        recipe,
        tokenizer=replace(recipe.tokenizer, vocabulary_size=70_000),
        architecture=replace(recipe.architecture, vocabulary_size=70_000),
    )
    assert estimated_bytes(pack, large) == pytest.approx(2 * expected, rel=1e-3)
