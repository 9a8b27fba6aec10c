"""Which models are asked for CORE, on which tasks, and that where a bundle lies is part of no key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.planning.pipeline import pipeline_stages
from core.planning.stage import Stage
from core.recipes.core_bundle import VARIABLE, bundle_url
from core.recipes.recipe import CoreMetric, RecipeError
from core.recipes.table import find_recipe, recipes
from core.stages.kind import StageKind

TAG = "d20_40tpp_drope_50"
PIN = "ab" * 32


def core_stages(tag: str) -> list[Stage]:
    kinds = (StageKind.CORE_BUNDLE, StageKind.CORE_METRIC)
    return [stage for stage in pipeline_stages(find_recipe(tag)) if stage.kind in kinds]


def publish_key(tag: str) -> str:
    return pipeline_stages(find_recipe(tag))[-1].key


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.mark.parametrize("tag", [tag for tag in recipes() if tag.startswith("tiny")])
def test_every_tiny_base_model_that_reads_forward_is_asked(tag: str) -> None:
    asked = [stage for stage in core_stages(tag) if stage.kind is StageKind.CORE_METRIC]
    backward = find_recipe(tag).pretraining.direction == "backward"
    assert [stage.name for stage in asked] == ([] if backward else [f"{find_recipe(tag).base_tag}-base"])


def test_a_model_of_full_size_is_asked_once_a_bundle_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    assert core_stages(TAG) == []
    before = publish_key(TAG)
    monkeypatch.setenv(VARIABLE, f"/data/bundle.zip#sha256={PIN}")
    bundle, metric = core_stages(TAG)
    assert bundle.identity.sha256 == PIN  # type: ignore[union-attr]
    assert metric.inputs["bundle"].key == bundle.key
    assert publish_key(TAG) != before
    training = {stage.key for stage in pipeline_stages(find_recipe(TAG)) if stage.kind is StageKind.PRETRAIN}
    monkeypatch.delenv(VARIABLE)
    assert training == {s.key for s in pipeline_stages(find_recipe(TAG)) if s.kind is StageKind.PRETRAIN}


def test_where_the_bundle_lies_moves_no_key_and_another_digest_does(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []
    for setting in (f"/data/bundle.zip#sha256={PIN}", f"s3://bucket/core#sha256={PIN}", f"/data#sha256={'cd' * 32}"):
        monkeypatch.setenv(VARIABLE, setting)
        keys.append([stage.key for stage in core_stages(TAG)])
    assert keys[0] == keys[1]
    assert not set(keys[0]) & set(keys[2])


def test_a_place_without_a_digest_is_planned_for_and_never_mistaken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/data/bundle.zip")
    bundle, _ = core_stages(TAG)
    assert bundle.identity.sha256 == "unpinned"  # type: ignore[union-attr]


def test_the_tiny_family_makes_its_own_tasks_whatever_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [stage.key for stage in core_stages("tiny")]
    monkeypatch.setenv(VARIABLE, f"/data/bundle.zip#sha256={PIN}")
    assert [stage.key for stage in core_stages("tiny")] == before


def test_the_url_is_what_stands_before_the_digest() -> None:
    assert bundle_url({VARIABLE: f"s3://bucket/core.zip#sha256={PIN}"}) == "s3://bucket/core.zip"
    assert bundle_url({VARIABLE: "folder"}) == "folder"
    assert bundle_url({}) is None


def test_a_series_can_pin_a_bundle_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = find_recipe(TAG)
    measured = replace(recipe.evaluation, core_metric=CoreMetric(bundle="dclm", sha256=PIN, examples=100))
    kinds = [stage.kind for stage in pipeline_stages(replace(recipe, evaluation=measured))]
    assert StageKind.CORE_METRIC in kinds


@pytest.mark.parametrize("examples", [None, 0])
def test_what_cannot_be_measured_is_refused(examples: int | None) -> None:
    with pytest.raises(RecipeError, match="core_metric: "):
        CoreMetric(bundle="synthetic", examples=examples)
