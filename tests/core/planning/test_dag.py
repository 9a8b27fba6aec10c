"""Which stages a tag has, and which it shares."""

from __future__ import annotations

import pytest

from artifacts.lease_record import Holder
from artifacts.store import Found
from core.planning.catalogue import deliverable, stages_of
from core.planning.pipeline import pipeline_stages
from core.planning.plan import make_plan
from core.planning.progress import progress_of, required
from core.planning.stage import Stage
from core.recipes.recipe import RecipeError
from core.recipes.table import recipes
from core.stages.identity import TrainingIdentity
from core.stages.kind import StageKind

COMMITTED = Found(committed=True)
SOMEBODY = Holder(host="node-7", pid=12, purpose="test", since=1.7e9, until=1.7e9 + 120, token=1)


def training(tag: str) -> list[tuple[str, int, int, bool]]:
    return [
        (stage.kind.value, stage.identity.first_step, stage.identity.end_step, stage.identity.use_rope)
        for stage in pipeline_stages(recipes()[tag])
        if isinstance(stage.identity, TrainingIdentity)
    ]


def nobody(_stage: Stage) -> None:
    return None


def test_a_trunk_is_four_segments_and_a_drop_is_a_prefix_and_a_recalibration() -> None:
    assert training("d18_9tpp") == [
        ("pretrain", 0, 696, True),
        ("pretrain", 696, 1392, True),
        ("pretrain", 1392, 2088, True),
        ("pretrain", 2088, 2784, True),
    ]
    assert training("d18_9tpp_drope_50") == [
        ("pretrain", 0, 696, True),
        ("pretrain", 696, 1392, True),
        ("recalibrate", 1392, 2784, False),
    ]


def test_models_of_one_trunk_share_their_prefix_and_models_of_another_horizon_share_nothing_trained() -> None:
    def pretraining(tag: str) -> set[str]:
        return {stage.key for stage in pipeline_stages(recipes()[tag]) if isinstance(stage.identity, TrainingIdentity)}

    assert len(pretraining("d20_20tpp") & pretraining("d20_20tpp_drope_50")) == 2
    assert pretraining("d20_20tpp") == pretraining("d20_20tpp_long")
    assert not pretraining("d20_20tpp") & pretraining("d20_9tpp")


def test_a_key_has_one_name_whichever_tag_asks() -> None:
    names: dict[str, set[str]] = {}
    for tag in recipes():
        for key, stage in stages_of(tag).items():
            names.setdefault(key, set()).add(stage.name)
    assert [found for found in names.values() if len(found) > 1] == []


def test_every_fine_tune_starts_from_the_base_artifact_never_from_another_fine_tune() -> None:
    for tag, recipe in recipes().items():
        for stage in pipeline_stages(recipe):
            if stage.kind in (StageKind.SFT, StageKind.LONG_SFT):
                assert isinstance(stage.inputs["base"].identity, TrainingIdentity), tag


def test_the_merged_plan_of_the_twenty_tags_costs_what_the_facts_say() -> None:
    tags = [tag for tag, recipe in recipes().items() if tag.startswith("d") and recipe.finetuning]
    plan = make_plan(tags, {}, nobody)
    assert plan.total.tokens == 66_351_792_128
    assert plan.unshared.tokens == 93_046_439_936
    kinds = [planned.stage.kind for planned in plan.stages]
    assert kinds.count(StageKind.SFT) == 14
    assert kinds.count(StageKind.LONG_SFT) == 6
    assert kinds.count(StageKind.PUBLISH) == 20


def test_a_longer_horizon_only_appends_shard_groups() -> None:
    def groups(tag: str) -> list[str]:
        last = next(stage for stage in reversed(pipeline_stages(recipes()[tag])) if stage.kind is StageKind.PRETRAIN)
        return [need.key for role, need in last.needs.items() if role.startswith("group-")]

    short, long = groups("d20_9tpp"), groups("d20_40tpp")
    assert long[: len(short)] == short
    assert 0 < len(short) < len(long)


def test_no_training_stream_contains_the_validation_shard() -> None:
    for recipe in recipes().values():
        held_out = recipe.corpus.validation_shard
        for index in range(recipe.corpus.groups):
            first, end = recipe.corpus.group(index)
            assert not first <= held_out < end


def test_a_plan_until_a_deliverable_has_what_it_needs_and_no_more() -> None:
    plan = make_plan(["tiny_drope_50_long"], {}, nobody, until="hf-base")
    kinds = {planned.stage.kind.value for planned in plan.stages}
    assert kinds == {"corpus", "tokenizer", "pack", "pretrain", "recalibrate", "export_hf"}
    assert plan.stages[-1].stage is deliverable("tiny_drope_50_long", "hf-base")
    assert all(planned.progress.needed for planned in plan.stages)
    with pytest.raises(RecipeError, match="tiny makes no shoes-base; it makes native-base, hf-base, evaluation-base"):
        make_plan(["tiny"], {}, nobody, until="shoes-base")


def test_an_artifact_that_nothing_missing_needs_is_not_made_again() -> None:
    stages = pipeline_stages(recipes()["tiny"])
    survey = {stage.address.folder: COMMITTED for stage in stages if stage.kind is not StageKind.PACK}
    assert required(stages, survey) == set()
    publish = stages[-1]
    without = {folder: found for folder, found in survey.items() if folder != publish.address.folder}
    assert required(stages, without) == {publish.key}


def test_a_damaged_artifact_is_made_again_even_if_all_that_was_made_from_it_exists() -> None:
    stages = pipeline_stages(recipes()["tiny"])
    survey = {stage.address.folder: COMMITTED for stage in stages}
    tokenizer = stages[1]
    damaged = {**survey, tokenizer.address.folder: Found(committed=True, damaged=True)}
    assert required(stages, damaged) == {tokenizer.key}


def test_every_state_is_told_apart() -> None:
    stages = pipeline_stages(recipes()["tiny"])
    corpus, tokenizer = stages[0], stages[1]
    segments = [stage for stage in stages if stage.kind is StageKind.PRETRAIN]
    survey = {
        corpus.address.folder: COMMITTED,
        tokenizer.address.folder: Found(committed=True, damaged=True),
        segments[0].address.folder: Found(leased=True, checkpoint_step=7),
        segments[2].address.folder: Found(checkpoint_step=170),
    }
    states = progress_of(stages, survey, lambda stage: SOMEBODY if stage is segments[0] else None)
    assert states[corpus.key].state == "cached"
    assert (states[tokenizer.key].state, states[tokenizer.key].detail) == ("pending", "damaged, will be made again")
    assert (states[segments[0].key].state, states[segments[0].key].holder) == ("running", SOMEBODY)
    assert states[segments[0].key].detail.startswith("by process 12 on node-7, since 20")
    assert (states[segments[1].key].state, states[segments[1].key].blocked_by) == ("blocked", segments[0])
    alone = progress_of(stages, survey, nobody)
    assert (alone[segments[2].key].state, alone[segments[2].key].detail) == ("resumable", "at step 170")
