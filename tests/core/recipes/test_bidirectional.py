"""The bidirectional d20, to the printed digit of its card and code."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from core.model.transformer import Transformer
from core.planning.pretraining import base_stage, stream, tokenizer_stage
from core.recipes.recipe import Recipe
from core.recipes.table import find_recipe
from core.training.schedule import pretraining_rates


@pytest.fixture
def recipe() -> Recipe:
    return find_recipe("d20-bidirectional")


def test_its_shape_is_that_of_the_card(recipe: Recipe) -> None:
    architecture = recipe.architecture
    assert (architecture.depth, architecture.width, architecture.heads, architecture.key_value_heads) == (
        20,
        1280,
        10,
        10,
    )
    assert (architecture.mlp, architecture.mlp_width, architecture.head_width) == ("relu2", 5120, 128)
    assert (architecture.vocabulary_size, architecture.sequence_length) == (65_536, 2048)
    assert (architecture.rope_base, architecture.logit_softcap) == (10_000.0, 15.0)
    assert architecture.normalize_embedding
    assert recipe.pretraining.direction == "bidirectional"


def test_it_has_561_million_parameters_whatever_its_card_is_called(recipe: Recipe) -> None:
    with torch.device("meta"):
        model = Transformer(recipe.architecture)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    tables = sizes["transformer.wte.weight"] + sizes["lm_head.weight"]
    assert tables == 167_772_160
    assert sum(sizes.values()) - tables == recipe.architecture.matrix_parameters == 393_216_000
    assert sum(sizes.values()) == recipe.architecture.total_parameters == 560_988_160
    assert recipe.architecture.scaling_parameters == 477_102_080


def test_its_horizon_is_twenty_tokens_for_each_parameter_in_exactly_42800_steps(recipe: Recipe) -> None:
    assert recipe.pretraining.batch_tokens == 262_144
    assert recipe.pretraining.steps == 42_800
    assert recipe.tokens == 20 * 560_988_160 == 11_219_763_200
    assert recipe.cuts == (10_700, 21_400, 32_100, 42_800)
    assert recipe.warmdown_start == 34_240


def test_its_training_flops_a_token_equal_the_facts(recipe: Recipe) -> None:
    assert recipe.architecture.flops_per_token == 3_491_758_080
    assert recipe.architecture.causal_flops_per_token == 3_491_758_080 - 6 * 1280 * 20 * 2048
    assert f"{recipe.architecture.flops_per_token * recipe.tokens:.2e}" == "3.92e+19"


def test_its_optimizer_is_plain_muon_and_adamw_without_weight_decay(recipe: Recipe) -> None:
    optimization = recipe.pretraining.optimization
    muon = optimization.matrices
    assert (muon.peak_rate, muon.orthogonalization, muon.second_moment_beta) == (0.02, "newton-schulz", None)
    for adamw, base in ((optimization.embedding, 0.2), (optimization.unembedding, 0.004)):
        assert f"{adamw.peak_rate / base:.4f}" == "0.7746"
        assert (adamw.beta1, adamw.beta2, adamw.epsilon, adamw.weight_decay) == (0.8, 0.95, 1e-10, 0.0)
    assert optimization.gradient_clip == 1.0


def test_its_rate_is_constant_until_the_last_fifth_then_linear_to_zero(recipe: Recipe) -> None:
    steps = recipe.pretraining.steps
    rates = [pretraining_rates(recipe.pretraining.optimization, step, steps) for step in (0, 34_240, 38_520, 42_799)]
    assert [rate.multiplier for rate in rates] == [1.0, 1.0, 0.5, 1 / 8560]
    assert {rate.weight_decay for rate in rates} == {0.0}


def test_its_momentum_rises_for_300_steps_and_stays(recipe: Recipe) -> None:
    steps = recipe.pretraining.steps
    rates = [pretraining_rates(recipe.pretraining.optimization, step, steps) for step in (0, 150, 300, 42_799)]
    assert [rate.momentum for rate in rates] == pytest.approx([0.85, 0.90, 0.95, 0.95], rel=1e-12)


def test_its_direction_tokens_are_the_last_two_of_eleven_at_the_top_of_the_vocabulary(recipe: Recipe) -> None:
    tokenizer = recipe.tokenizer
    first = tokenizer.vocabulary_size - len(tokenizer.special_tokens)
    ids = {token: first + index for index, token in enumerate(tokenizer.special_tokens)}
    assert len(ids) == 11
    assert (ids["<|bos|>"], ids["<|user_start|>"], ids["<|assistant_end|>"]) == (65_525, 65_526, 65_529)
    assert (ids["<|output_end|>"], ids["<|forward|>"], ids["<|backward|>"]) == (65_533, 65_534, 65_535)
    assert (tokenizer.max_characters, tokenizer.document_cap) == (10_000_000_000, 10_000)


@pytest.mark.parametrize("family", ["d20", "tiny"])
def test_its_siblings_are_the_same_recipe_but_for_the_direction(family: str) -> None:
    both, *siblings = (find_recipe(f"{family}_{direction}") for direction in ("bidirectional", "forward", "backward"))
    for sibling, direction in zip(siblings, ("forward", "backward"), strict=True):
        assert sibling.pretraining == replace(both.pretraining, direction=direction)
        assert (sibling.tag, sibling.trunk) == (f"{family}_{direction}", f"{family}_{direction}")
        assert replace(sibling, tag=both.tag, trunk=both.trunk, pretraining=both.pretraining) == both


def test_it_and_its_siblings_share_corpus_and_tokenizer_and_read_streams_of_equal_length() -> None:
    both, *siblings = (find_recipe(f"tiny_{direction}") for direction in ("bidirectional", "forward", "backward"))
    groups = {recipe.tag: stream(recipe, recipe.pretraining.steps) for recipe in (both, *siblings)}
    for sibling in siblings:
        assert tokenizer_stage(sibling).key == tokenizer_stage(both).key
        assert groups[sibling.tag].rows == groups[both.tag].rows
        assert base_stage(sibling).key != base_stage(both).key


def test_it_reads_fineweb_edu(recipe: Recipe) -> None:
    assert recipe.corpus.source == "fineweb-edu"
    assert (recipe.corpus.training_shards, recipe.corpus.validation_shard) == (1822, 1822)
