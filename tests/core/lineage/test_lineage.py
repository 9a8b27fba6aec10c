"""The lineage is what the manifests say, trunk to leaf, without times and hosts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lineages import REVISION, committed_publication, write_lineage

from artifacts.store import Store
from core.lineage.ancestry import gather, gathered_lineage
from core.lineage.lineage import LINEAGE, Lineage, read_lineage
from core.planning.catalogue import stages_of
from core.stages.context import StageError
from core.stages.kind import StageKind

TAG = "tiny_drope_50_long"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gathered lineage of one tag."""
    return write_lineage(tmp_path_factory.mktemp("lineage"), TAG)


@pytest.fixture(scope="module")
def lineage(folder: Path) -> Lineage:
    """The same, read."""
    return read_lineage(folder)


def test_every_stage_stands_behind_what_it_was_made_from(lineage: Lineage) -> None:
    seen: set[str] = set()
    for stage in lineage.stages:
        assert set(stage.needs) <= seen
        seen.add(stage.key)
    assert set(lineage.deliverables.values()) <= seen


def test_keys_and_titles_are_those_of_the_plan(lineage: Lineage) -> None:
    planned = stages_of(TAG)
    assert all(stage.name == planned[stage.key].name and stage.is_recorded for stage in lineage.stages)
    assert {stage.revision for stage in lineage.stages} == {REVISION}


def test_the_other_fine_tune_of_the_same_base_is_no_ancestor(lineage: Lineage) -> None:
    assert [stage.kind for stage in lineage.training][-1] is StageKind.LONG_SFT
    assert not lineage.of_kind(StageKind.SFT)


def test_a_phase_is_all_segments_of_its_training(lineage: Lineage) -> None:
    assert [stage.kind for stage in lineage.of_phase("base")] == [
        StageKind.PRETRAIN,
        StageKind.PRETRAIN,
        StageKind.RECALIBRATE,
    ]
    assert lineage.of_phase("base") + lineage.of_phase("sft") == lineage.training


def test_behind_a_base_model_there_is_no_chat_data(lineage: Lineage) -> None:
    base = lineage.behind(["hf-base", "evaluation-base"])
    kinds = {stage.kind for stage in base.stages}
    assert StageKind.RECALIBRATE in kinds
    assert not kinds & {StageKind.MIXTURE, StageKind.LONG_SFT, StageKind.QUESTIONS, StageKind.EXPORT_NATIVE}


def test_a_fine_tune_of_a_model_without_positions_has_none(lineage: Lineage) -> None:
    without = [stage.kind for stage in lineage.training if stage.key in lineage.without_rope]
    assert without == [StageKind.RECALIBRATE, StageKind.LONG_SFT]


def test_times_and_hosts_do_not_enter(tmp_path: Path, folder: Path) -> None:
    later = write_lineage(tmp_path, TAG, {"host": "elsewhere", "started": 5e9, "finished": 6e9, "system": "Plan 9"})
    assert (later / LINEAGE).read_bytes() == (folder / LINEAGE).read_bytes()
    assert "node-17" not in (folder / LINEAGE).read_text()


def test_what_was_written_is_read_again(lineage: Lineage, tmp_path: Path) -> None:
    lineage.write(tmp_path / LINEAGE)
    again = read_lineage(tmp_path)
    assert (again.stages, again.deliverables) == (lineage.stages, lineage.deliverables)


def test_the_traces_of_training_are_kept(lineage: Lineage) -> None:
    steps = [record["step"] for stage in lineage.training for record in lineage.trace(stage, "loss.jsonl")]
    assert steps == [*range(280), *range(50)]


def test_an_artifact_that_is_gone_keeps_its_place_and_its_key(tmp_path: Path) -> None:
    store = Store.open(f"file://{tmp_path / 'store'}")
    publish = committed_publication(store, TAG)
    [tokenizer] = [stage for stage in stages_of(TAG).values() if stage.kind is StageKind.TOKENIZER]
    manifest = tmp_path / "store" / tokenizer.address.folder / "manifest.json"
    manifest.unlink()
    with gathered_lineage(publish, store) as folder:
        [found] = read_lineage(folder).of_kind(StageKind.TOKENIZER)
    assert (found.key, found.is_recorded, found.files) == (tokenizer.key, False, ())
    assert not folder.exists()


def test_only_manifests_and_traces_are_read(tmp_path: Path) -> None:
    store = Store.open(f"file://{tmp_path / 'store'}")
    publish = committed_publication(store, TAG)
    weights = list((tmp_path / "store").rglob("model.safetensors"))
    for path in weights:
        path.unlink()
    (tmp_path / "lineage").mkdir()
    gather(publish, store, tmp_path / "lineage")
    assert weights
    assert {path.name for path in (tmp_path / "lineage").rglob("*.*")} == {LINEAGE, "loss.jsonl", "metrics.jsonl"}


def test_a_file_that_is_no_lineage_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"lineage\.json: not there"):
        read_lineage(tmp_path)
    (tmp_path / LINEAGE).write_text(json.dumps({"stages": 3}))
    with pytest.raises(StageError, match=r"lineage\.json: is no lineage"):
        read_lineage(tmp_path)
