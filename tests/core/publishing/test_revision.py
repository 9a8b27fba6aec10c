"""What is published beside what the artifacts say: found by content, and corrected only when asked to."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from core.publishing.revision import Revision, correct, examine
from core.stages.context import StageContext
from core.stages.identity import PublishIdentity
from core.stages.report import Reporter
from core.stages.runtime import Runtime

BASE, HF_BASE, SFT, HF_SFT = (f"lab/nanochat-tiny_drope_50-{kind}" for kind in ("base", "hf-base", "sft", "hf-sft"))
CARD_FILES = ("README.md", "evaluation.json")


def looking(stage: Any, root: Path, destination: str) -> StageContext[PublishIdentity]:
    """A look at what `stage` has published; each has a scratch folder of its own."""
    stage.runs += 1
    scratch = root / f"look-{stage.runs}"
    scratch.mkdir()
    return StageContext(
        name=stage.tag,
        key="0" * 64,
        identity=PublishIdentity(
            tag=stage.tag, namespace="lab", visibility="private", collection=None, destination=destination
        ),
        inputs=stage.inputs,
        output=scratch,
        scratch=scratch,
        checkpoints=None,
        report=Reporter(io.StringIO()),
        runtime=Runtime(publication_url=(root / "hub").as_uri()),
    )


def publish(stage: Any, root: Path, destination: str) -> None:
    stage.run(url=(root / "hub").as_uri(), destination=destination)


def by_name(revisions: list[Revision]) -> dict[str, Revision]:
    return {revision.repository: revision for revision in revisions}


@pytest.mark.parametrize("destination", ["folder", "hub"])
def test_what_was_just_published_is_current_and_stays_at_its_version(
    stage: Any, hub: Any, tmp_path: Path, destination: str
) -> None:
    publish(stage, tmp_path, destination)
    for look in (examine, correct):
        revisions = look(looking(stage, tmp_path, destination))
        assert [revision.repository for revision in revisions] == [BASE, HF_BASE, SFT, HF_SFT]
        assert all(revision.is_current and not revision.corrected for revision in revisions)
        assert {revision.version for revision in revisions} == {1}


@pytest.mark.parametrize("destination", ["folder", "hub"])
def test_a_newer_evaluation_changes_the_cards_of_its_model_and_nothing_else(
    stage: Any, hub: Any, tmp_path: Path, destination: str
) -> None:
    publish(stage, tmp_path, destination)
    evaluation = stage.inputs["evaluation-sft"] / "evaluation.json"
    evaluation.write_text(evaluation.read_text().replace("2.0625", "1.9375"))
    for look, corrected, version in ((examine, False, 1), (correct, True, 2), (correct, False, 2)):
        found = by_name(look(looking(stage, tmp_path, destination)))
        assert found[BASE].is_current
        assert found[HF_BASE].is_current
        for name in (SFT, HF_SFT):
            assert set(CARD_FILES) >= set(found[name].changed)
            assert found[name].is_current == (look is correct and not corrected)
            assert (found[name].corrected, found[name].version) == (corrected, version)


def test_a_flipped_byte_in_a_folder_is_found_and_written_again(stage: Any, tmp_path: Path) -> None:
    publish(stage, tmp_path, "folder")
    file = tmp_path / "hub" / BASE / "model_000300.pt"
    content = file.read_bytes()
    damaged = bytes([content[0] ^ 1]) + content[1:]
    file.write_bytes(damaged)
    found = by_name(examine(looking(stage, tmp_path, "folder")))[BASE]
    assert [finding.path for finding in found.findings] == ["model_000300.pt"]
    assert found.changed == ("model_000300.pt",)
    assert file.read_bytes() == damaged
    assert by_name(correct(looking(stage, tmp_path, "folder")))[BASE].corrected
    assert file.read_bytes() == content


def test_what_others_did_to_our_files_on_the_hub_is_undone_and_their_own_files_stay(
    stage: Any, hub: Any, tmp_path: Path
) -> None:
    publish(stage, tmp_path, "hub")
    there = hub.repositories[BASE]
    ours = there.files
    kept = {path: content for path, content in ours.items() if path != "samples.md"}
    there.revisions.append({**kept, "model_000300.pt": b"other weights", "theirs.gguf": b"quantised"})
    found = by_name(examine(looking(stage, tmp_path, "hub")))[BASE]
    assert {finding.path for finding in found.findings} == {"model_000300.pt", "samples.md", "theirs.gguf"}
    assert set(found.changed) == {"model_000300.pt", "samples.md"}
    assert len(there.revisions) == 3
    correct(looking(stage, tmp_path, "hub"))
    index = {".miniseries.json": there.files[".miniseries.json"]}
    assert there.files == {**ours, "theirs.gguf": b"quantised", **index}
    assert len(there.revisions) == 4
    assert there.tags.keys() == {"v1", "v2"}


def test_a_repository_that_is_not_there_yet_is_no_damage(stage: Any, hub: Any, tmp_path: Path) -> None:
    for destination in ("folder", "hub"):
        found = examine(looking(stage, tmp_path, destination))
        assert not any(revision.findings or revision.is_current or revision.version for revision in found)
    assert hub.repositories == {}
