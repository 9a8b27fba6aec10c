"""An export leaves the store: verified on arrival, never over somebody's other file, again without copying."""

from __future__ import annotations

from pathlib import Path

import pytest
from committing import commit_files

from artifacts.errors import ArtifactDamaged, ArtifactMissing
from artifacts.store import Store
from core.export.delivery import deliver
from core.planning.catalogue import deliverable
from core.stages.context import StageError

STAGE = deliverable("tiny", "hf-base")
FILES = {"config.json": b"{}\n", "model.safetensors": b"weights" * 1000}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with one export."""
    opened = Store.open(str(tmp_path / "store"), tmp_path / "cache")
    opened.check_writable()
    commit_files(opened, STAGE, FILES)
    return opened


def delivered(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_file_arrives_and_is_a_copy(store: Store, tmp_path: Path) -> None:
    manifest = deliver(store, STAGE.address, tmp_path / "deep" / "target")
    assert delivered(tmp_path / "deep" / "target") == FILES
    assert [file.path for file in manifest.files] == sorted(FILES)
    (tmp_path / "deep" / "target" / "config.json").write_bytes(b"edited")
    assert store.verify(STAGE.address) == [], "who edits the copy does not edit the artifact"


def test_delivering_again_copies_only_what_is_missing(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "target"
    deliver(store, STAGE.address, target)
    kept = (target / "model.safetensors").stat().st_mtime_ns
    (target / "config.json").unlink()
    (target / "notes.txt").write_text("mine")
    deliver(store, STAGE.address, target)
    assert delivered(target) == {**FILES, "notes.txt": b"mine"}
    assert (target / "model.safetensors").stat().st_mtime_ns == kept


def test_another_file_of_that_name_is_not_overwritten(store: Store, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "model.safetensors").write_bytes(b"mine")
    with pytest.raises(StageError, match=r"model\.safetensors: another file has this name \(expected 7,000 bytes"):
        deliver(store, STAGE.address, target)
    assert delivered(target) == {"model.safetensors": b"mine"}, "nothing was copied beside it either"


def test_a_target_that_is_a_file_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("")
    with pytest.raises(StageError, match="target: is a file; name a folder to export to"):
        deliver(store, STAGE.address, tmp_path / "target")


def test_a_damaged_or_missing_export_is_not_delivered(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing):
        deliver(store, deliverable("tiny", "hf-sft").address, tmp_path / "target")
    manifest = store.manifest(STAGE.address)
    assert manifest is not None
    (Path(store.path_of(STAGE.address)) / "config.json").write_bytes(b"!!\n")
    with pytest.raises(ArtifactDamaged, match=r"config\.json"):
        deliver(store, STAGE.address, tmp_path / "target")
