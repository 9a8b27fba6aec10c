"""The 20 models, to the printed digit of their card and code.

A number written as text is compared as text: every digit of the facts counts, and no digit more.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from core.model.architecture import Architecture, swiglu_width
from core.model.transformer import Transformer
from core.recipes.miniseries import family_architecture
from core.recipes.optimization import REFERENCE_SCALING_PARAMETERS, Schedule, family_batch_tokens
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
    directions = ["tiny_bidirectional", "tiny_forward", "tiny_backward"]
    assert tiny == [f"tiny{drop}{long}" for drop in drops for long in ("", "_long")] + directions


def count(architecture: Architecture, part: str) -> int:
    """Parameters whose name begins with `part`, of the model itself: tensors of the meta device, summed."""
    with torch.device("meta"):
        model = Transformer(architecture)
    return sum(parameter.numel() for name, parameter in model.named_parameters() if name.startswith(part))


@pytest.mark.parametrize(
    ("depth", "width", "heads", "mlp_width", "attention", "mlp", "matrices", "table", "scaling", "total"),
    [
        (18, 1152, 9, 3072, 5_308_416, 10_616_832, 286_654_464, 37_748_736, 324_403_200, 362_151_936),
        (20, 1280, 10, 3456, 6_553_600, 13_271_040, 396_492_800, 41_943_040, 438_435_840, 480_378_880),
    ],
)
def test_shapes_and_every_parameter_count_equal_the_facts(
    depth: int,
    width: int,
    heads: int,
    mlp_width: int,
    attention: int,
    mlp: int,
    matrices: int,
    table: int,
    scaling: int,
    total: int,
) -> None:
    architecture = recipes()[f"d{depth}_9tpp"].architecture
    shape = (architecture.depth, architecture.width, architecture.heads, architecture.mlp_width)
    assert shape == (depth, width, heads, mlp_width)
    for layer in range(depth):
        assert count(architecture, f"transformer.h.{layer}.attn.") == attention
        assert count(architecture, f"transformer.h.{layer}.mlp.") == mlp
    assert count(architecture, "transformer.h.") == architecture.matrix_parameters == matrices
    assert count(architecture, "transformer.wte.") == count(architecture, "lm_head.") == table
    assert architecture.scaling_parameters == scaling
    assert count(architecture, "") == architecture.total_parameters == total


def test_every_model_of_the_series_has_the_constants_of_the_seed() -> None:
    for tag in CARD_TAGS:
        architecture, depth = recipes()[tag].architecture, int(tag[1:3])
        assert architecture == replace(
            family_architecture(depth),
            key_value_heads=architecture.heads,
            head_width=128,
            mlp="swiglu",
            vocabulary_size=32_768,
            sequence_length=4096,
            rope_base=100_000.0,
            logit_softcap=15.0,
            norm_epsilon=1e-6,
            normalize_embedding=False,
        )


@pytest.mark.parametrize(
    ("depth", "tokens_per_parameter", "target"),
    [
        (18, 9, 2_919_628_800),
        (18, 20, 6_488_064_000),
        (20, 9, 3_945_922_560),
        (20, 20, 8_768_716_800),
        (20, 40, 17_537_433_600),
    ],
)
def test_the_horizon_is_the_token_target_in_whole_batches(depth: int, tokens_per_parameter: int, target: int) -> None:
    recipe = recipes()[f"d{depth}_{tokens_per_parameter}tpp"]
    assert tokens_per_parameter * recipe.architecture.scaling_parameters == target
    assert recipe.pretraining.steps == target // 2**20
    assert 0 <= target - recipe.tokens < 2**20


def test_all_tags_of_one_horizon_train_on_the_same_number_of_tokens() -> None:
    billions = {"d18_9": "2.92", "d18_20": "6.49", "d20_9": "3.95", "d20_20": "8.77", "d20_40": "17.54"}
    for tag in CARD_TAGS:
        recipe, horizon = recipes()[tag], tag.partition("tpp")[0]
        assert f"{recipe.tokens / 1e9:.2f}" == billions[horizon], tag
        assert recipe.tokens == recipes()[f"{horizon}tpp"].tokens
        assert recipe.cuts == recipes()[f"{horizon}tpp"].cuts
        percent = int(tag.partition("drope_")[2][:2] or 0)
        assert recipe.drop_step == (recipe.cuts[percent // 25 - 1] if percent else None), tag


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
    ("depth", "matrix", "embedding", "unembedding", "decay", "width_scale"),
    [
        (18, "0.0282843", "0.346410", "0.00923760", "0.1343931", "0.816497"),
        (20, "0.0282843", "0.328634", "0.00876356", "0.0994389", "0.774597"),
    ],
)
def test_peak_rates_and_weight_decay_equal_the_facts(
    depth: int, matrix: str, embedding: str, unembedding: str, decay: str, width_scale: str
) -> None:
    optimization = recipes()[f"d{depth}_9tpp"].pretraining.optimization
    assert f"{optimization.matrices.peak_rate:.7f}" == matrix
    assert f"{optimization.embedding.peak_rate:.6f}" == embedding
    assert f"{optimization.unembedding.peak_rate:.8f}" == unembedding
    assert f"{optimization.matrices.weight_decay:.7f}" == decay
    assert f"{optimization.embedding.peak_rate / (0.3 * 2**0.5):.6f}" == width_scale


def test_the_optimizer_has_the_constants_of_the_seed() -> None:
    for tag in CARD_TAGS:
        optimization = recipes()[tag].pretraining.optimization
        for adamw, beta2, decay in ((optimization.embedding, 0.995, 0.001), (optimization.unembedding, 0.96, 0.01)):
            assert (adamw.beta1, adamw.beta2, adamw.epsilon, adamw.weight_decay) == (0.8, beta2, 1e-10, decay)
        muon = optimization.matrices
        assert (muon.orthogonalization, muon.second_moment_beta) == ("polar-express", 0.9)
        assert (muon.momentum_start, muon.momentum_peak, muon.momentum_final) == (0.85, 0.97, 0.90)
        assert muon.momentum_warmup_steps == 400
        assert optimization.schedule == Schedule(warmup_steps=40, warmdown_fraction=0.65, final_fraction=0.05)
        assert optimization.gradient_clip is None


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


@pytest.mark.parametrize(
    ("depth", "full", "causal"), [(18, "2.96564e+09", "2.45603e+09"), (20, "3.88891e+09", "3.25976e+09")]
)
def test_training_flops_a_token_equal_the_facts(depth: int, full: str, causal: str) -> None:
    architecture = recipes()[f"d{depth}_9tpp"].architecture
    assert f"{architecture.flops_per_token:.5e}" == full
    assert f"{architecture.causal_flops_per_token:.5e}" == causal


def test_dashes_and_underscores_name_the_same_recipe() -> None:
    assert find_recipe("d20-40tpp-drope-50-long") is recipes()["d20_40tpp_drope_50_long"]


def test_an_unknown_tag_is_answered_with_the_nearest_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"no recipe is called 'd20_40tp': did you mean d20_40tpp, "):
        find_recipe("d20_40tp")


def test_a_batch_that_is_not_whole_rows_is_refused_with_the_nearest_that_is() -> None:
    recipe: Recipe = recipes()["tiny"]
    with pytest.raises(RecipeError, match=r"4,000 tokens is not a whole number of rows of 256; the nearest is 3,840"):
        replace(recipe, pretraining=replace(recipe.pretraining, batch_tokens=4000))
