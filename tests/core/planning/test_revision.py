"""What a changed recipe leaves behind is found in the store, traced to its cause, and not thrown away unasked."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from committing import commit, commit_all

from artifacts.lease import HeldLease
from artifacts.store import Store
from core.planning.pipeline import pipeline_stages
from core.planning.revision import RetrainRefused, require_accepted, superseded
from core.planning.stage import Stage
from core.recipes.recipe import Recipe
from core.recipes.table import find_recipe
from core.stages.kind import StageKind

TINY = find_recipe("tiny_drope_50")
TRAINING = (StageKind.PRETRAIN, StageKind.RECALIBRATE)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"), tmp_path / "cache")


def with_rate(rate: float) -> Recipe:
    """The recipe as it was before its Muon rate was changed."""
    optimization = TINY.pretraining.optimization
    matrices = replace(optimization.matrices, peak_rate=rate)
    return replace(TINY, pretraining=replace(TINY.pretraining, optimization=replace(optimization, matrices=matrices)))


def stages(recipe: Recipe, *kinds: StageKind) -> list[Stage]:
    return [stage for stage in pipeline_stages(recipe) if not kinds or stage.kind in kinds]


def test_an_empty_store_and_an_unchanged_recipe_leave_nothing_behind(store: Store) -> None:
    now = stages(TINY)
    assert superseded(now, store.survey(), store) == []
    commit_all(store, now[:8], hours=1)
    assert superseded(now, store.survey(), store) == []


def test_a_changed_rate_is_named_once_for_all_that_was_trained_with_it(store: Store) -> None:
    commit_all(store, stages(with_rate(0.5)), hours=2)
    found = superseded(stages(TINY), store.survey(), store)
    assert {one.stage.kind for one in found} >= {*TRAINING, StageKind.SFT, StageKind.EXPORT_HF, StageKind.PUBLISH}
    assert not [one for one in found if one.stage.kind in (StageKind.CORPUS, StageKind.TOKENIZER, StageKind.PACK)]
    for one in found:
        if one.stage.kind in TRAINING:
            assert one.gpu_hours == 2
            assert [str(cause) for cause in one.causes] == [
                "optimization.matrices.peak_rate of `pretrain tiny steps 0-70` (0.5 -> 0.02)"
            ]


def test_what_runs_on_no_gpu_took_no_gpu_hours(store: Store) -> None:
    commit_all(store, stages(with_rate(0.5)), hours=2)
    for one in superseded(stages(TINY), store.survey(), store):
        assert (one.gpu_hours > 0) == (one.stage.definition.resource.value == "gpu")


def test_a_change_far_above_is_followed_to_the_stage_in_which_it_lies(store: Store) -> None:
    earlier = replace(TINY, corpus=replace(TINY.corpus, revision="another-python"))
    commit_all(store, stages(earlier), hours=1)
    found = superseded(stages(TINY), store.survey(), store)
    publish = found[-1]
    assert publish.stage.kind is StageKind.PUBLISH
    assert [(cause.stage.kind, cause.change.field, cause.change.before) for cause in publish.causes] == [
        (StageKind.CORPUS, "revision", "another-python")
    ]


def test_an_input_that_is_no_longer_in_the_store_is_said_to_be_the_difference(store: Store, tmp_path: Path) -> None:
    earlier = replace(TINY, corpus=replace(TINY.corpus, revision="another-python"))
    commit_all(store, stages(earlier), hours=1)
    shutil.rmtree(tmp_path / "store" / "corpus")
    (tokenizer,) = [one for one in superseded(stages(TINY), store.survey(), store) if one.stage.kind == "tokenizer"]
    assert "no longer in the store" in str(tokenizer.causes[0])


def test_a_longer_horizon_leaves_segments_behind_although_their_steps_are_others(store: Store) -> None:
    earlier = replace(TINY, pretraining=replace(TINY.pretraining, steps=200))
    commit_all(store, stages(earlier, *TRAINING), hours=1)
    found = superseded(stages(TINY), store.survey(), store)
    assert len(found) == 3
    assert [str(cause) for cause in found[0].causes] == ["steps of `pretrain tiny steps 0-70` (200 -> 280)"]


def test_a_stage_whose_making_has_begun_under_its_new_key_is_not_asked_about_again(store: Store) -> None:
    commit_all(store, stages(with_rate(0.5), *TRAINING), hours=1)
    first = stages(TINY, StageKind.PRETRAIN)[0]
    lease = store.leases.acquire(first.address, purpose="test", ttl=60)
    assert isinstance(lease, HeldLease)
    lease.release()
    assert first.key not in {one.stage.key for one in superseded(stages(TINY), store.survey(), store)}


def test_of_two_earlier_revisions_the_later_one_counts(store: Store) -> None:
    commit_all(store, stages(with_rate(0.5), StageKind.RECALIBRATE), hours=3)
    commit_all(store, stages(with_rate(0.7), StageKind.RECALIBRATE), hours=5)
    (found,) = superseded(stages(TINY), store.survey(), store)
    assert found.gpu_hours == 5
    assert found.causes[-1].change.before == 0.7


def test_what_another_known_tag_reaches_is_not_left_behind(store: Store) -> None:
    """The bidirectional vocabulary and rows have the names of the forward ones, and both are wanted."""
    commit_all(store, stages(find_recipe("tiny_bidirectional")), hours=1)
    assert superseded(stages(TINY), store.survey(), store) == []


def test_a_raised_stage_version_is_a_cause(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.stages import kind

    (recalibrate,) = stages(TINY, StageKind.RECALIBRATE)
    definition = kind.DEFINITIONS[StageKind.RECALIBRATE]
    monkeypatch.setitem(kind.DEFINITIONS, StageKind.RECALIBRATE, replace(definition, version=definition.version + 1))
    earlier = replace(recalibrate)
    commit(store, earlier)
    monkeypatch.undo()
    (found,) = superseded([recalibrate], store.survey(), store)
    assert [cause.change.field for cause in found.causes] == ["version of the stage kind"]


def test_work_finished_under_another_name_is_found_by_its_key(store: Store) -> None:
    commit_all(store, stages(replace(TINY, trunk="once"), *TRAINING), hours=1)
    found = superseded(stages(TINY), store.survey(), store)
    assert [one.stage.kind for one in found] == [StageKind.PRETRAIN, StageKind.PRETRAIN, StageKind.RECALIBRATE]
    assert str(found[-1].causes[0]) == (
        "name of the artifact of `recalibrate without RoPE tiny_drope_50 steps 140-280` "
        "(once_drope_50 -> tiny_drope_50)"
    )


def test_more_than_the_threshold_is_refused_in_one_line_that_names_the_cause(store: Store) -> None:
    commit_all(store, stages(with_rate(0.5), *TRAINING), hours=2)
    found = superseded(stages(TINY), store.survey(), store)
    require_accepted(found, threshold_hours=6)
    with pytest.raises(
        RetrainRefused, match=r"3 finished stages \(6\.0 GPU-hours\).*peak_rate.*--accept-retrain"
    ) as caught:
        require_accepted(found, threshold_hours=5.9)
    assert "\n" not in str(caught.value)
