"""The study as a stage: its key follows its evaluations, and publications follow the study that is in force."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from committing import commit, commit_files

from artifacts.store import Store
from core.planning.catalogue import evaluations_of, publication, stages_of
from core.planning.garbage import survey_garbage
from core.planning.plan import plan_of
from core.planning.stage import Stage
from core.planning.status import read_status
from core.planning.study import publication_in, study_stage
from core.recipes.recipe import Recipe, RecipeError
from core.recipes.table import find_recipe, recipes
from core.stages.identity import StudyIdentity
from core.stages.kind import StageKind

TAGS = ("tiny", "tiny_drope_50", "tiny_drope_50_long")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"), tmp_path / "cache")


def identity(stage: Stage) -> StudyIdentity:
    assert isinstance(stage.identity, StudyIdentity)
    return stage.identity


def with_more_text(recipe: Recipe) -> Recipe:
    """The same model, evaluated on more."""
    return replace(recipe, evaluation=replace(recipe.evaluation, validation_tokens=65_536))


def change(monkeypatch: pytest.MonkeyPatch, tag: str) -> None:
    """Have the recipe of `tag` ask for another evaluation from now on."""
    monkeypatch.setitem(recipes(), tag, with_more_text(find_recipe(tag)))


def test_whoever_asks_for_the_same_tags_gets_the_same_study() -> None:
    assert study_stage(TAGS).key == study_stage([*reversed(TAGS), "tiny-drope-50"]).key


def test_every_evaluation_of_every_tag_is_an_input_once() -> None:
    wanted = {stage.key for tag in TAGS for stage in evaluations_of(tag)}
    study = study_stage(TAGS)
    assert {stage.key for stage in study.inputs.values()} == wanted
    assert len(study.inputs) == len(wanted)


def test_models_that_tags_share_are_studied_once() -> None:
    names = [model.name for model in identity(study_stage(TAGS)).models]
    assert names == [
        *("tiny-base", "tiny-sft"),
        *("tiny_drope_50-base", "tiny_drope_50-sft", "tiny_drope_50-long-sft"),
    ]


def test_a_study_says_of_models_what_pairs_them() -> None:
    kept, _, dropped, *_ = identity(study_stage(TAGS)).models
    assert (kept.trunk, kept.rope_drop, dropped.trunk, dropped.rope_drop) == ("tiny", None, "tiny", 0.5)
    assert (kept.depth, kept.tokens_per_parameter) == (dropped.depth, dropped.tokens_per_parameter)


def test_a_changed_evaluation_makes_another_study_and_moves_no_key_of_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, trained = study_stage(TAGS), stages_of("tiny")
    change(monkeypatch, "tiny")
    after = study_stage(TAGS)
    assert before.key != after.key
    moved = {role for role in before.inputs if before.inputs[role].key != after.inputs[role].key}
    assert moved == {"evaluate:tiny-base", "evaluate:tiny-sft"}
    models = {key for key, stage in trained.items() if stage.kind in (StageKind.PRETRAIN, StageKind.SFT)}
    assert models <= stages_of("tiny").keys()


def test_an_unknown_tag_is_refused() -> None:
    with pytest.raises(RecipeError, match="no recipe is called"):
        study_stage(["tinny"])


def test_without_a_study_nothing_is_published_differently(store: Store) -> None:
    assert publication_in("tiny", store).key == publication("tiny").key


def test_a_tag_is_published_with_the_newest_study_that_covers_it(store: Store) -> None:
    first, second = study_stage(["tiny", "tiny_drope_50"]), study_stage(["tiny", "tiny_drope_75"])
    commit(store, first)
    commit(store, second)
    assert publication_in("tiny", store).inputs["study"].key == second.key
    assert publication_in("tiny_drope_50", store).inputs["study"].key == first.key
    assert "study" not in publication_in("tiny_drope_25", store).inputs


def test_a_study_of_earlier_evaluations_is_not_in_force(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(store, study_stage(TAGS))
    change(monkeypatch, "tiny_drope_50")
    assert "study" not in publication_in("tiny", store).inputs


def test_publishing_again_is_not_to_be_done_when_it_was_done_with_a_study(store: Store) -> None:
    for stage in stages_of("tiny").values():
        if stage.kind is not StageKind.PUBLISH:
            commit(store, stage)
    study = study_stage(["tiny"])
    commit_files(store, study, {"study.json": json.dumps({}).encode()})
    assert [one.stage.kind for one in plan_of(["tiny"], store).stages if one.progress.needed] == [StageKind.PUBLISH]

    commit(store, publication_in("tiny", store))
    assert not any(one.progress.needed for one in plan_of(["tiny"], store).stages)
    (status,) = read_status(["tiny"], store).tags
    assert not status.lacking


def test_a_study_in_force_is_no_garbage_and_an_outdated_one_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_stage(["tiny"])
    commit(store, study)
    assert not survey_garbage(store, time.time()).garbage
    change(monkeypatch, "tiny")
    assert [found.address.folder for found in survey_garbage(store, time.time()).garbage] == [study.address.folder]
