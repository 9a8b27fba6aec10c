"""Destination `folder`: laid out like the Hub, written only where it differs."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from artifacts.errors import StoreError
from core.stages.context import StageError

REPOSITORIES = [f"lab/nanochat-tiny_drope_50-{kind}" for kind in ("base", "hf-base", "sft", "hf-sft")]


def published_files(folder: Path) -> dict[str, bytes]:
    """Everything below the folder that is a file."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def stamps(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_four_repositories_appear_with_their_files_card_and_index(stage: Any, tmp_path: Path) -> None:
    publication = stage.run(url=(tmp_path / "hub").as_uri())
    files = published_files(tmp_path / "hub")
    assert [path.name for path in (tmp_path / "hub").iterdir()] == ["lab"]
    assert sorted({"/".join(path.split("/")[:2]) for path in files}) == sorted(REPOSITORIES)
    hf_sft = {path.rpartition("/")[2] for path in files if path.startswith("lab/nanochat-tiny_drope_50-hf-sft/")}
    assert hf_sft == {
        "model.safetensors",
        "config.json",
        "certificate.json",
        "evaluation.json",
        "samples.md",
        "README.md",
        ".miniseries.json",
        "v1.json",
    }
    source = stage.inputs["hf-sft"] / "model.safetensors"
    assert files["lab/nanochat-tiny_drope_50-hf-sft/model.safetensors"] == source.read_bytes()
    assert publication.metrics["repositories"] == 4
    assert publication.metrics["files_written"] == publication.metrics["files"] == 24


def test_the_receipt_names_every_file_and_no_place_on_this_machine(stage: Any, tmp_path: Path) -> None:
    publication = stage.run(url=(tmp_path / "hub").as_uri())
    files = published_files(tmp_path / "hub")
    assert [repository["id"] for repository in publication.receipt["repositories"]] == REPOSITORIES
    for repository in publication.receipt["repositories"]:
        for file in repository["files"]:
            content = files[f"{repository['url']}/{file['path']}"]
            assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
    assert str(tmp_path).encode() not in publication.receipt_bytes
    assert all(str(tmp_path).encode() not in content for content in files.values())


def test_publishing_again_changes_nothing(stage: Any, tmp_path: Path) -> None:
    first = stage.run(url=(tmp_path / "hub").as_uri())
    before = stamps(tmp_path / "hub")
    second = stage.run(url=(tmp_path / "hub").as_uri())
    assert (second.metrics["files_written"], second.metrics["files_removed"]) == (0, 0)
    assert stamps(tmp_path / "hub") == before
    assert second.receipt_bytes == first.receipt_bytes


def test_only_what_changed_is_written_and_what_is_gone_is_removed(stage: Any, tmp_path: Path) -> None:
    url, repository = (tmp_path / "hub").as_uri(), tmp_path / "hub" / REPOSITORIES[1]
    (stage.inputs["hf-base"] / "old.json").write_text("{}")
    stage.run(url=url)
    (repository / "ADDED_BY_HAND.md").write_text("mine")
    before = stamps(tmp_path / "hub")
    (stage.inputs["hf-base"] / "old.json").unlink()
    (stage.inputs["hf-base"] / "config.json").write_text('{"model_type": "other"}')
    publication = stage.run(url=url)
    assert (publication.metrics["files_written"], publication.metrics["files_removed"]) == (2, 1)
    after = stamps(tmp_path / "hub")
    assert {path for path in after if after[path] != before.get(path)} == {
        str(repository / "config.json"),
        str(repository / "certificate.json"),
        str(repository / ".miniseries.json"),
        str(repository / ".versions" / "v2.json"),
    }
    assert not (repository / "old.json").exists()
    assert (repository / "ADDED_BY_HAND.md").read_text() == "mine"


def test_a_file_that_vanished_or_was_cut_short_is_written_again(stage: Any, tmp_path: Path) -> None:
    url = (tmp_path / "hub").as_uri()
    stage.run(url=url)
    lost = tmp_path / "hub" / REPOSITORIES[0] / "model_000300.pt"
    content = lost.read_bytes()
    for damage in (lost.unlink, lambda: lost.write_bytes(content[:-1])):
        damage()
        assert stage.run(url=url).metrics["files_written"] == 1
        assert lost.read_bytes() == content


def test_every_version_is_on_record_as_the_index_it_had(stage: Any, tmp_path: Path) -> None:
    url, repository = (tmp_path / "hub").as_uri(), tmp_path / "hub" / REPOSITORIES[1]
    indexes = []
    for content in ("{}", '{"model_type": "other"}', '{"model_type": "other"}'):
        (stage.inputs["hf-base"] / "config.json").write_text(content)
        stage.run(url=url)
        indexes.append((repository / ".miniseries.json").read_text())
    records = {path.name: path.read_text() for path in (repository / ".versions").iterdir()}
    assert records == {"v1.json": indexes[0], "v2.json": indexes[1]}
    assert indexes[2] == indexes[1]
    (repository / ".versions" / "v2.json").unlink()  # as if killed before it was written
    stage.run(url=url)
    assert (repository / ".versions" / "v2.json").read_text() == indexes[1]


def test_the_collection_of_the_series_names_each_repository(stage: Any, tmp_path: Path) -> None:
    for _ in range(2):
        stage.run(url=(tmp_path / "hub").as_uri(), collection="Tiny series")
    records = (tmp_path / "hub" / "lab" / ".collections" / "tiny-series").iterdir()
    assert sorted(json.loads(path.read_text())["repository"] for path in records) == sorted(REPOSITORIES)


def test_a_publication_that_broke_off_claims_only_what_is_there_and_is_completed(stage: Any, tmp_path: Path) -> None:
    url, repository = (tmp_path / "hub").as_uri(), tmp_path / "hub" / REPOSITORIES[1]
    stage.run(url=url)
    (stage.inputs["hf-base"] / "model.safetensors").write_bytes(b"newer weights")
    (repository / "README.md").unlink()
    (repository / "README.md" / "in the way").mkdir(parents=True)  # the card, written last, will fail
    with pytest.raises(StageError, match=r"publication folder: .*README\.md: Is a directory"):
        stage.run(url=url)
    assert (repository / "model.safetensors").read_bytes() == b"newer weights"
    index = json.loads((repository / ".miniseries.json").read_text())["files"]
    assert {"model.safetensors", "README.md"}.isdisjoint(index)
    for path, sha256 in index.items():
        assert hashlib.sha256((repository / path).read_bytes()).hexdigest() == sha256
    shutil.rmtree(repository / "README.md")
    stage.run(url=url)
    assert hashlib.sha256(b"newer weights").hexdigest() in (repository / "README.md").read_text()
    assert stage.run(url=url).metrics["files_written"] == 0


def test_a_base_model_alone_gives_two_repositories(stage: Any, tmp_path: Path) -> None:
    for role in ("native-sft", "hf-sft", "evaluation-sft"):
        del stage.inputs[role]
    assert stage.run(url=(tmp_path / "hub").as_uri()).metrics["repositories"] == 2


def test_half_a_fine_tune_is_refused(stage: Any, tmp_path: Path) -> None:
    del stage.inputs["hf-sft"]
    with pytest.raises(StageError, match="without the input hf-sft"):
        stage.run(url=(tmp_path / "hub").as_uri())


def test_no_place_to_publish_to_is_one_line(stage: Any) -> None:
    with pytest.raises(StageError, match="set MINISERIES_HUB"):
        stage.run(url="")
    with pytest.raises(StoreError, match="is not understood"):
        stage.run(url="ftp://somewhere/else")
