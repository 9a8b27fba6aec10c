"""The 20 models, to the printed digit of their card and code."""

from __future__ import annotations

import pytest

from core.model.architecture import swiglu_width
from core.recipes.miniseries import family_architecture
from core.recipes.optimization import REFERENCE_SCALING_PARAMETERS, family_batch_tokens
from core.recipes.recipe import Recipe, RecipeError
from core.recipes.table import find_recipe, recipes

CARD_TAGS = [
    *("d18_9tpp", "d18_9tpp_drope_25", "d18_9tpp_drope_50", "d18_9tpp_drope_75"),
    *("d18_20tpp", "d18_20tpp_long", "d18_20tpp_drope_50", "d18_20tpp_drope_50_long"),
    *("d20_9tpp", "d20_9tpp_drope_25", "d20_9tpp_drope_50", "d20_9tpp_drope_75"),
    *("d20_20tpp", "d20_20tpp_long", "d20_20tpp_drope_50", "d20_20tpp_drope_50_long"),
    *("d20_40tpp", "d20_40tpp_long", "d20_40tpp_drope_50", "d20_40tpp_drope_50_long"),
]


def test_the_twenty_tags_of_the_card_are_all_there_and_no_other() -> None:
    assert [tag for tag, recipe in recipes().items() if tag.startswith("d") and recipe.finetuning] == CARD_TAGS


def test_the_tiny_family_has_every_rope_schedule_with_and_without_long() -> None:
    tiny = [tag for tag in recipes() if tag.startswith("tiny")]
    drops = ("", "_drope_25", "_drope_50", "_drope_75")
    assert tiny == [f"tiny{drop}{long}" for drop in drops for long in ("", "_long")] + ["tiny_bidirectional"]


@pytest.mark.parametrize(
    ("tag", "total", "scaling"),
    [
        ("d18_9tpp", 362_151_936, 324_403_200),
        ("d20_9tpp", 480_378_880, 438_435_840),
        ("d20_bidirectional", 560_988_160, 477_102_080),
    ],
)
def test_parameter_counts_equal_the_arithmetic_of_the_cards(tag: str, total: int, scaling: int) -> None:
    architecture = recipes()[tag].architecture
    assert (architecture.total_parameters, architecture.scaling_parameters) == (total, scaling)


@pytest.mark.parametrize(
    ("tag", "steps", "tokens", "warmdown_start", "cuts"),
    [
        ("d18_9tpp", 2784, 2_919_235_584, 974, (696, 1392, 2088, 2784)),
        ("d18_20tpp", 6187, 6_487_539_712, 2165, (1547, 3094, 4640, 6187)),
        ("d20_9tpp", 3763, 3_945_791_488, 1317, (941, 1882, 2822, 3763)),
        ("d20_20tpp", 8362, 8_768_192_512, 2927, (2090, 4181, 6272, 8362)),
        ("d20_40tpp", 16725, 17_537_433_600, 5854, (4181, 8362, 12544, 16725)),
    ],
)
def test_horizons_warmdowns_and_cuts_equal_the_facts(
    tag: str, steps: int, tokens: int, warmdown_start: int, cuts: tuple[int, ...]
) -> None:
    recipe = recipes()[tag]
    assert recipe.pretraining.batch_tokens == 2**20
    assert (recipe.pretraining.steps, recipe.tokens, recipe.warmdown_start, recipe.cuts) == (
        steps,
        tokens,
        warmdown_start,
        cuts,
    )


@pytest.mark.parametrize(
    ("depth", "matrix", "embedding", "unembedding", "decay"),
    [
        (18, 0.0282843, 0.346410, 0.00923760, 0.1343931),
        (20, 0.0282843, 0.328634, 0.00876356, 0.0994389),
    ],
)
def test_peak_rates_and_weight_decay_equal_the_facts(
    depth: int, matrix: float, embedding: float, unembedding: float, decay: float
) -> None:
    optimization = recipes()[f"d{depth}_9tpp"].pretraining.optimization
    assert optimization.matrices.peak_rate == pytest.approx(matrix, rel=3e-6)
    assert optimization.embedding.peak_rate == pytest.approx(embedding, rel=3e-6)
    assert optimization.unembedding.peak_rate == pytest.approx(unembedding, rel=3e-6)
    assert optimization.matrices.weight_decay == pytest.approx(decay, rel=1e-6)


def test_the_horizon_does_not_change_any_rate() -> None:
    assert recipes()["d20_9tpp"].pretraining.optimization == recipes()["d20_40tpp"].pretraining.optimization


def test_fine_tuning_rates_are_four_fifths_of_the_base_rates_without_the_batch_factor() -> None:
    recipe = recipes()["d18_20tpp"]
    assert recipe.finetuning is not None
    optimization = recipe.finetuning.optimization
    assert optimization.matrices.peak_rate == pytest.approx(0.8 * 0.02)
    assert optimization.embedding.peak_rate == pytest.approx(0.8 * 0.3 * 0.816497, rel=1e-6)
    assert optimization.schedule.final_fraction == 0.0


def test_swiglu_widths_and_the_reference_model_equal_the_facts() -> None:
    assert [swiglu_width(width) for width in (768, 1152, 1280)] == [2048, 3072, 3456]
    assert REFERENCE_SCALING_PARAMETERS == 110_100_480
    assert family_batch_tokens(family_architecture(12)) == 2**19


def test_training_flops_a_token_equal_the_facts() -> None:
    assert recipes()["d18_9tpp"].architecture.flops_per_token == pytest.approx(2.96564e9, rel=1e-5)
    assert recipes()["d20_9tpp"].architecture.flops_per_token == pytest.approx(3.88891e9, rel=1e-5)


def test_the_bidirectional_horizon_is_exactly_42800_steps() -> None:
    recipe = recipes()["d20_bidirectional"]
    assert recipe.pretraining.steps == 42_800
    assert recipe.pretraining.optimization.embedding.peak_rate == pytest.approx(0.2 * 0.7745967)
    special = recipe.tokenizer.special_tokens
    assert len(special) == 11
    assert special[-2:] == ("<|forward|>", "<|backward|>")


def test_dashes_and_underscores_name_the_same_recipe() -> None:
    assert find_recipe("d20-40tpp-drope-50-long") is recipes()["d20_40tpp_drope_50_long"]


def test_an_unknown_tag_is_answered_with_the_nearest_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"no recipe is called 'd20_40tp': did you mean d20_40tpp, "):
        find_recipe("d20_40tp")


def test_a_batch_that_is_not_whole_rows_is_refused_with_the_nearest_that_is() -> None:
    import dataclasses

    recipe: Recipe = recipes()["tiny"]
    with pytest.raises(RecipeError, match=r"4,000 tokens is not a whole number of rows of 256; the nearest is 3,840"):
        dataclasses.replace(recipe, pretraining=dataclasses.replace(recipe.pretraining, batch_tokens=4000))
