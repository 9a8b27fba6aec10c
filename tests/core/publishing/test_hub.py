"""Destination `hub`, with the real client against a Hub on this machine."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import huggingface_hub.constants
import pytest

from core.stages.context import StageError

HF_BASE = "lab/nanochat-tiny_drope_50-hf-base"


def test_each_repository_is_created_private_and_gets_one_commit(stage: Any, hub: Any) -> None:
    publication = stage.run(destination="hub")
    assert len(hub.repositories) == 4
    for repository in publication.receipt["repositories"]:
        there = hub.repositories[repository["id"]]
        assert there.private
        assert len(there.revisions) == 2  # what the Hub begins with, and ours
        assert repository["commit"] == there.sha
        assert {file["path"] for file in repository["files"]} | {".miniseries.json", ".gitattributes"} == set(
            there.files
        )
    weights = (stage.inputs["hf-base"] / "model.safetensors").read_bytes()
    assert hub.repositories[HF_BASE].files["model.safetensors"] == weights


def test_publishing_again_makes_no_commit(stage: Any, hub: Any) -> None:
    first = stage.run(destination="hub")
    hub.requests.clear()
    second = stage.run(destination="hub")
    assert second.metrics["files_written"] == 0
    assert second.receipt_bytes == first.receipt_bytes
    assert not [request for request in hub.requests if "/commit/" in request or "/preupload/" in request]


def test_only_changed_files_are_uploaded_and_old_ones_of_ours_removed(stage: Any, hub: Any) -> None:
    (stage.inputs["hf-base"] / "old.json").write_text("{}")
    stage.run(destination="hub")
    hub.repositories[HF_BASE].files["model.gguf"] = b"somebody else's"
    (stage.inputs["hf-base"] / "old.json").unlink()
    (stage.inputs["hf-base"] / "config.json").write_text("{}")
    hub.requests.clear()
    publication = stage.run(destination="hub")
    assert (publication.metrics["files_written"], publication.metrics["files_removed"]) == (1, 1)
    files = hub.repositories[HF_BASE].files
    assert (files["config.json"], files["model.gguf"]) == (b"{}", b"somebody else's")
    assert "old.json" not in files
    assert len([request for request in hub.requests if "/commit/" in request]) == 1
    assert not [request for request in hub.requests if request.startswith("PUT")]


def test_a_branch_that_moved_meanwhile_is_not_overwritten(stage: Any, hub: Any) -> None:
    def commit_first(repository: Any) -> None:
        repository.revisions.append({**repository.files, "README.md": b"theirs"})

    hub.before_commit = commit_first
    with pytest.raises(StageError, match=r"\(?412.*changed while it was being published; run again"):
        stage.run(destination="hub")
    assert next(iter(hub.repositories.values())).files["README.md"] == b"theirs"
    stage.run(destination="hub")
    assert all(len(repository.files) > 5 for repository in hub.repositories.values())


def test_a_public_repository_never_receives_what_is_private(stage: Any, hub: Any) -> None:
    stage.run(destination="hub", visibility="public")
    with pytest.raises(StageError, match="exists and is public, the recipe says private"):
        stage.run(destination="hub", visibility="private")


@pytest.mark.parametrize(
    ("token", "reason"), [("hf_unknown", "401: the token is not valid"), ("read", "403: the token may not write there")]
)
def test_a_token_that_will_not_do_is_one_line_without_the_token(
    stage: Any, hub: Any, set_token: Callable[[str | None], None], read_token: str, token: str, reason: str
) -> None:
    secret = read_token if token == "read" else token
    set_token(secret)
    with pytest.raises(StageError, match=reason) as caught:
        stage.run(destination="hub")
    assert "\n" not in str(caught.value)
    assert secret not in str(caught.value)


def test_a_missing_token_is_said_before_anything_is_asked(
    stage: Any, hub: Any, set_token: Callable[[str | None], None]
) -> None:
    set_token(None)
    with pytest.raises(StageError, match="set HF_TOKEN or run `hf auth login`"):
        stage.run(destination="hub")
    assert hub.requests == []


def test_a_hub_that_cannot_be_reached_is_one_line(stage: Any, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(StageError, match="is not reachable") as caught:
            stage.run(destination="hub")
    assert "\n" not in str(caught.value)


def test_neither_log_nor_receipt_shows_the_token(stage: Any, hub: Any) -> None:
    publication = stage.run(destination="hub")
    assert b"hf_write" not in publication.receipt_bytes
    assert "hf_write" not in publication.log
