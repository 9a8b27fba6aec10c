"""What nothing reaches is found with the reason; what anything reaches, or nobody can judge, is not called garbage."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from committing import commit, commit_all
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.errors import StoreError
from artifacts.lease import HeldLease
from artifacts.manifest import Manifest
from artifacts.store import Store
from core.adoption.artifact import export_of
from core.planning.catalogue import stages_of
from core.planning.collection import Collected, Terms, collect
from core.planning.garbage import GarbageSurvey, survey_garbage
from core.planning.pipeline import HF_FORMAT, pipeline_stages
from core.planning.stage import Stage, in_order
from core.recipes.recipe import Recipe
from core.recipes.table import find_recipe
from core.stages.identity import AdoptedFile, AdoptedIdentity
from core.stages.kind import StageKind

TINY = find_recipe("tiny_drope_50")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"), tmp_path / "cache")


def with_rate(rate: float) -> Recipe:
    """The recipe as it was before its Muon rate was changed."""
    optimization = TINY.pretraining.optimization
    matrices = replace(optimization.matrices, peak_rate=rate)
    return replace(TINY, pretraining=replace(TINY.pretraining, optimization=replace(optimization, matrices=matrices)))


def earlier(rate: float = 0.5) -> list[Stage]:
    return pipeline_stages(with_rate(rate))


def unpublished(stages: Iterable[Stage]) -> list[Stage]:
    return [stage for stage in stages if stage.kind is not StageKind.PUBLISH]


def folders(stages: Iterable[Stage]) -> set[str]:
    return {stage.address.folder for stage in stages}


def is_there(store: Store, stage: Stage) -> bool:
    return store.manifest(stage.address) is not None


def folders_of(store: Store) -> set[str]:
    return {address.folder for address in store.addresses()}


def garbage_of(store: Store) -> set[str]:
    return {found.address.folder for found in survey_garbage(store, time.time()).garbage}


def collected(store: Store, survey: GarbageSurvey, now: float, window: float) -> Collected:
    return collect(store, survey, Terms(now=now, window=window, lease_seconds=60.0, wait=lambda _: None))


def test_what_a_recipe_has_is_no_garbage_nor_a_shard_group_that_it_does_not_need(store: Store) -> None:
    commit_all(store, stages_of(TINY.tag).values())
    (stream,) = {stage.stream for stage in stages_of("d20_20tpp").values() if stage.kind is StageKind.DECONTAMINATE}
    assert stream is not None
    last = stream.group(stream.corpus.groups - 1)
    assert last.key not in stages_of("d20_20tpp")
    commit(store, last)
    assert garbage_of(store) == set()


def test_what_an_earlier_recipe_made_is_listed_with_size_cost_and_reason(store: Store) -> None:
    commit_all(store, unpublished(earlier()), hours=2)
    survey = survey_garbage(store, time.time())
    shared = folders(stages_of(TINY.tag).values())
    assert {one.address.folder for one in survey.garbage} == folders(unpublished(earlier())) - shared
    (tuned,) = [one for one in survey.garbage if one.address.kind == "sft"]
    assert (tuned.what, tuned.gpu_hours, tuned.marked) == ("artifact", 2.0, None)
    assert tuned.bytes > len(b"content")
    assert "optimization.matrices.peak_rate" in tuned.reason
    assert "0.5 -> 0.02" in tuned.reason
    assert sum(one.gpu_hours or 0 for one in survey.garbage if one.address.kind.startswith("export")) == 0


def test_what_was_made_under_another_name_stays_until_it_is_made_under_its_own(store: Store) -> None:
    stage = next(stage for stage in stages_of(TINY.tag).values() if stage.kind is StageKind.PRETRAIN)
    old = replace(stage, name="study-000000-000070")
    assert old.key == stage.key
    commit(store, old)
    assert garbage_of(store) == set()
    commit(store, stage)
    (found,) = survey_garbage(store, time.time()).garbage
    assert found.address.folder == old.address.folder
    assert found.reason == f"the same stage is called {stage.name} now"


def test_a_publication_keeps_what_it_was_made_from_until_a_later_one_replaces_it(store: Store) -> None:
    commit_all(store, earlier())
    beside = folders(earlier()) - folders(in_order([earlier()[-1]])) - folders(stages_of(TINY.tag).values())
    assert garbage_of(store) == beside

    elsewhere = replace(TINY, publication=replace(TINY.publication, namespace="another-lab"))
    commit_all(store, [stage for stage in pipeline_stages(elsewhere) if not is_there(store, stage)])
    assert "publish" not in {folder.partition("/")[0] for folder in garbage_of(store)}, "that is another place"

    commit_all(store, [stage for stage in stages_of(TINY.tag).values() if not is_there(store, stage)])
    garbage = garbage_of(store)
    assert {folder.partition("/")[0] for folder in garbage} >= {"publish", "recalibrate", "pretrain", "sft"}
    assert garbage <= folders(earlier()) - folders(stages_of(TINY.tag).values())


def test_adopted_models_and_what_was_exported_of_them_stay(store: Store) -> None:
    identity = AdoptedIdentity(files=(AdoptedFile(path="model.pt", sha256="a" * 64),), phase="base", use_rope=None)
    adopted = Stage(StageKind.ADOPTED, "theirs", identity)
    commit_all(store, [adopted, export_of(adopted, StageKind.EXPORT_HF, HF_FORMAT)])
    assert garbage_of(store) == set()


def test_what_a_run_elsewhere_needs_stays_though_no_recipe_here_knows_it(store: Store) -> None:
    commit_all(store, unpublished(earlier()))
    some = next(stage for stage in earlier() if stage.kind is StageKind.SFT)
    with store.running_plans.running([some.address.folder], "run study_1"):
        left = garbage_of(store)
    assert some.address.folder not in left
    assert not left & folders(some.needs.values()), "nor is what it was made from garbage"
    assert some.address.folder in garbage_of(store)


def test_what_is_being_made_now_stays(store: Store) -> None:
    stage = next(stage for stage in earlier() if stage.kind is StageKind.RECALIBRATE)
    lease = store.leases.acquire(stage.address, purpose="test", ttl=60)
    assert isinstance(lease, HeldLease)
    with store.attempt(stage.address, lease) as attempt:
        (attempt.output / "half").write_bytes(b"half")
        assert garbage_of(store) == set()
        lease.release()
        (found,) = survey_garbage(store, time.time()).garbage
        assert (found.what, found.address.folder) == ("unfinished", stage.address.folder)
        assert found.reason.startswith("never finished; of an earlier recipe or version: the key is")
        assert found.age is not None


def test_attempts_and_checkpoints_that_nobody_will_use_are_leftovers(store: Store, tmp_path: Path) -> None:
    done, unfinished = list(stages_of(TINY.tag).values())[:2]
    commit(store, done)
    for stage, path in (
        (done, "progress/00000001-1/checkpoint.json"),
        (unfinished, "progress/00000001-1/checkpoint.json"),
        (unfinished, "files/0001-dead/half"),
    ):
        target = tmp_path / "store" / stage.address.folder / path
        target.parent.mkdir(parents=True)
        target.write_bytes(b"half")
    found = {one.address.folder: one for one in survey_garbage(store, time.time()).garbage}
    assert {one.what for one in found.values()} == {"leftovers"}
    assert found[done.address.folder].reason == "checkpoints of a stage that is committed"
    assert found[unfinished.address.folder].names == {"files/0001-dead"}, "its checkpoint is what the next run needs"


def test_what_cannot_be_judged_is_listed_and_left_alone(store: Store, tmp_path: Path) -> None:
    made = [stage for stage in earlier() if stage.kind in (StageKind.SFT, StageKind.RECALIBRATE)]
    commit_all(store, made)
    for stage, content in zip(made, (b"{}", None), strict=True):
        path = tmp_path / "store" / stage.address.folder / "manifest.json"
        newer = Manifest.decode(path.read_bytes(), "it").model_copy(update={"stage_version": 99})
        path.write_bytes(newer.encode() if content is None else content)
    unknown = tmp_path / "store" / "distill" / "d20-0123456789ab" / "files" / "weights"
    unknown.parent.mkdir(parents=True)
    unknown.write_bytes(b"weights")

    survey = survey_garbage(store, time.time())
    assert survey.garbage == ()
    assert not list((tmp_path / "store").rglob("damaged.json")), "who only looks marks nothing"
    whys = {alone.folder: alone.why for alone in survey.left_alone}
    assert whys.keys() == folders(made) | {"distill/d20-0123456789ab"}
    assert "manifest.json" in whys[made[0].address.folder]
    assert "newer miniseries" in whys[made[1].address.folder]
    survey.require_known()


def test_nothing_is_collected_while_a_publication_does_not_tell_what_it_needs(store: Store, tmp_path: Path) -> None:
    commit_all(store, earlier())
    publication = earlier()[-1].address.folder
    (tmp_path / "store" / publication / "manifest.json").write_text(json.dumps({"kind": "publish"}))
    survey = survey_garbage(store, time.time())
    assert survey.unknown == (publication,)
    with pytest.raises(StoreError, match=f"{publication} cannot be read, .* nothing is collected; bring it back"):
        collected(store, survey, time.time(), 0.0)
    assert len(store.addresses()) == len(earlier())


def test_garbage_is_deleted_by_the_first_collection_after_its_window_and_not_if_it_is_reached_again(
    store: Store,
) -> None:
    commit_all(store, unpublished(earlier()))
    now, window = time.time(), 7 * 86_400.0
    listed = folders(one for one in earlier() if one.address.folder in garbage_of(store))
    first = collected(store, survey_garbage(store, now), now, window)
    assert (set(first.marked), first.deleted) == (listed, ())
    again = collected(store, survey_garbage(store, now), now + window - 1, window)
    assert (again.marked, again.deleted, again.kept) == ((), (), ())

    kept = next(stage for stage in earlier() if stage.kind is StageKind.RECALIBRATE)
    with store.running_plans.running([kept.address.folder], "the recipe came back"):
        last = collected(store, survey_garbage(store, now), now + window, window)
    assert kept.address.folder in last.kept
    assert set(last.deleted) | set(last.kept) == listed
    assert last.deleted_bytes > 0
    assert set(store.trash.tombstones()) == set()
    left = folders_of(store)
    assert not left & set(last.deleted)
    assert kept.address.folder in left


subsets = st.sets(st.integers(0, len(earlier()) - 1))


@settings(max_examples=4)
@given(subsets, subsets)
def test_of_any_store_everything_that_a_recipe_or_the_newest_publication_has_outlives_a_collection(
    tmp_path_factory: pytest.TempPathFactory, now_there: set[int], earlier_there: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    store = Store.open(str(folder / "store"), folder / "cache")
    now, before = list(stages_of(TINY.tag).values()), earlier()
    commit_all(store, (stage for index, stage in enumerate(before) if index in earlier_there))
    known = folders(now)
    commit_all(store, (stage for index, stage in enumerate(now) if index in now_there and not is_there(store, stage)))

    needed = known | _behind_publication(before, now, store)
    there = folders_of(store)
    for _ in range(2):  # marks, then deletes
        collected(store, survey_garbage(store, time.time()), time.time(), 0.0)
    left = {address.folder: store.verify(address) for address in store.addresses()}
    assert left == {one: [] for one in there & needed}


def _behind_publication(before: list[Stage], now: list[Stage], store: Store) -> set[str]:
    """What the earlier publication was made from, as far as manifests tell, if no later one has replaced it."""
    publication = before[-1]
    if not is_there(store, publication) or is_there(store, stages_of(TINY.tag)[now[-1].key]):
        return set()
    found, pending = set[str](), [publication]
    while pending:
        stage = pending.pop()
        found.add(stage.address.folder)
        if is_there(store, stage):
            pending.extend(stage.inputs.values())
    return found
