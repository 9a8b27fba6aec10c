"""`diff`: what makes two recipes differ, which keys that moves, what it costs and what it orphans."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from committing import commit_all
from hypothesis import given
from hypothesis import strategies as st

from artifacts.store import Store
from core.planning.catalogue import stages_of
from core.planning.difference import difference, difference_listing, orphaned, price, still_to_make
from core.planning.pipeline import pipeline_stages
from core.planning.stage import Stage
from core.recipes.recipe import Recipe
from core.recipes.table import find_recipe, recipes
from core.stages.kind import StageKind

TAGS = st.sampled_from(sorted(recipes()))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"), tmp_path / "cache")


def faster(recipe: Recipe) -> Recipe:
    """The recipe as it would be with another Muon rate."""
    optimization = recipe.pretraining.optimization
    matrices = replace(optimization.matrices, peak_rate=0.5)
    return replace(
        recipe, pretraining=replace(recipe.pretraining, optimization=replace(optimization, matrices=matrices))
    )


def keys(stages: tuple[Stage, ...]) -> set[str]:
    return {stage.key for stage in stages}


@given(TAGS, TAGS)
def test_every_stage_of_both_sides_is_accounted_for_once(before: str, after: str) -> None:
    found = difference(find_recipe(before), find_recipe(after))
    olds, news = set(stages_of(before)), set(stages_of(after))
    assert keys(found.shared) == olds & news
    assert keys(found.to_make) == news - olds
    assert len(found.shared) + len(found.to_make) == len(news)
    assert {pair.before.key for pair in found.changed} | keys(found.removed) >= olds - news
    for pair in found.changed:
        assert pair.before.kind is pair.after.kind
        assert pair.changes or pair.changed_inputs


def test_a_recipe_differs_from_itself_in_nothing() -> None:
    found = difference(find_recipe("tiny"), find_recipe("tiny"))
    assert not found.fields
    assert not found.to_make
    assert not found.removed


def test_a_drop_keeps_the_trunk_up_to_it_and_adds_a_recalibration() -> None:
    found = difference(find_recipe("d20_20tpp"), find_recipe("d20_20tpp_drope_50"))
    assert [(change.field, change.before, change.after) for change in found.fields] == [
        ("pretraining.rope_drop", None, 0.5)
    ]
    assert [stage.name for stage in found.shared if stage.kind is StageKind.PRETRAIN] == [
        "d20_20tpp-000000-002090",
        "d20_20tpp-002090-004181",
    ]
    assert [stage.kind for stage in found.added] == [StageKind.RECALIBRATE]
    assert price(found.to_make).tokens == (8362 - 4181) * 2**20


def test_a_changed_rate_pairs_each_stage_with_what_it_was_and_names_the_field() -> None:
    tiny = find_recipe("tiny")
    found = difference(tiny, faster(tiny))
    assert [change.field for change in found.fields] == ["pretraining.optimization.matrices.peak_rate"]
    assert not found.added
    assert not found.removed
    segments = [pair for pair in found.changed if pair.after.kind is StageKind.PRETRAIN]
    assert [pair.role for pair in segments] == [f"pretrain segment {number}" for number in (1, 2, 3, 4)]
    assert {str(change) for pair in segments for change in pair.changes} == {
        "optimization.matrices.peak_rate: 0.02 -> 0.5"
    }
    (publish,) = [pair for pair in found.changed if pair.after.kind is StageKind.PUBLISH]
    assert not publish.changes
    assert "hf-base" in publish.changed_inputs


def test_what_an_earlier_revision_finished_and_no_tag_reaches_is_orphaned(store: Store) -> None:
    tiny, earlier = find_recipe("tiny"), faster(find_recipe("tiny"))
    finished = [stage for stage in pipeline_stages(earlier) if stage.kind is not StageKind.PUBLISH]
    commit_all(store, finished)
    survey = store.survey()
    left = orphaned(earlier, survey)
    assert {stage.key for stage in left} == {stage.key for stage in finished} - set(stages_of("tiny"))
    assert orphaned(tiny, survey) == []
    assert {stage.key for stage in still_to_make(tiny, survey)} == set(stages_of("tiny")) - {
        stage.key for stage in finished
    }


def test_the_listing_carries_every_part_and_its_price() -> None:
    listing = difference_listing(difference(find_recipe("tiny"), find_recipe("tiny_long")))
    assert listing["fields"][0] == {"field": "long_finetuning", "before": None, "after": None}  # type: ignore[index]
    assert {"changed", "shared", "removed", "added", "to_make"} <= listing.keys()
    assert listing["to_make"]["tokens"] == 0  # type: ignore[index]
