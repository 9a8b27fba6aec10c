"""Destination `hub`, with the real client against a Hub on this machine."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import hub_server
import huggingface_hub.constants
import pytest

from core.stages.context import StageError, StageUnavailable

HF_BASE = "lab/nanochat-tiny_drope_50-hf-base"


def test_each_repository_is_created_private_and_gets_one_commit(stage: Any, hub: Any) -> None:
    publication = stage.run(destination="hub")
    assert len(hub.repositories) == 4
    assert not hub.collections
    for repository in publication.receipt["repositories"]:
        there = hub.repositories[repository["id"]]
        assert there.private
        assert len(there.revisions) == 2  # what the Hub begins with, and ours
        assert repository["commit"] == there.sha
        assert there.tags == {"v1": there.sha}
        assert repository["version"] == 1
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
    assert (publication.metrics["files_written"], publication.metrics["files_removed"]) == (2, 1)
    files = hub.repositories[HF_BASE].files
    assert (files["config.json"], files["model.gguf"]) == (b"{}", b"somebody else's")
    assert "old.json" not in files
    assert len([request for request in hub.requests if "/commit/" in request]) == 1
    assert not [request for request in hub.requests if request.startswith("PUT")]
    there = hub.repositories[HF_BASE]
    assert there.tags == {"v1": there.commits[1], "v2": there.sha}


def test_a_branch_that_moved_meanwhile_is_compared_again_and_keeps_what_others_put_there(stage: Any, hub: Any) -> None:
    def commit_first(repository: Any) -> None:
        repository.revisions.append({**repository.files, "notes.md": b"theirs"})

    hub.before_commit = commit_first
    publication = stage.run(destination="hub")
    assert "cannot be published" in publication.log
    assert "it changed meanwhile" in publication.log
    there = next(iter(hub.repositories.values()))
    assert there.files["notes.md"] == b"theirs"
    assert len(there.revisions) == 3
    assert there.tags == {"v1": there.sha}


def test_a_branch_that_never_stands_still_is_given_up_after_some_tries(stage: Any, hub: Any) -> None:
    hub.faults = [hub_server.Fault("/commit/", 412) for _ in range(6)]
    with pytest.raises(StageUnavailable, match="412: it changed meanwhile; run again"):
        stage.run(destination="hub")
    assert all(len(repository.revisions) == 1 for repository in hub.repositories.values())


def test_public_repositories_are_shown_only_once_all_are_in(stage: Any, hub: Any) -> None:
    shown_at_commit = []
    hub.watch = lambda request: (
        shown_at_commit.extend(not repository.private for repository in hub.repositories.values())
        if "/commit/" in request
        else None
    )
    stage.run(destination="hub", visibility="public")
    assert len(shown_at_commit) == 1 + 2 + 3 + 4
    assert not any(shown_at_commit)
    assert not any(repository.private for repository in hub.repositories.values())


def test_a_publication_that_fails_at_the_last_repository_shows_none(stage: Any, hub: Any) -> None:
    hub.faults = [hub_server.Fault("/api/models/lab/.*-hf-sft/commit/", 403)]
    with pytest.raises(StageError, match="403: the token may not write there"):
        stage.run(destination="hub", visibility="public", collection="Tiny series")
    assert len(hub.repositories) == 4
    assert all(repository.private for repository in hub.repositories.values())
    assert not hub.collections


def test_the_collection_of_the_series_is_made_and_holds_each_repository_once(stage: Any, hub: Any) -> None:
    for _ in range(2):
        stage.run(destination="hub", collection="Tiny series")
    (collection,) = hub.collections.values()
    assert (collection["title"], collection["private"]) == ("Tiny series", True)
    assert sorted(item["id"] for item in collection["items"]) == sorted(hub.repositories)


def test_a_version_that_was_committed_but_not_tagged_gets_its_tag_where_it_was_committed(stage: Any, hub: Any) -> None:
    stage.run(destination="hub")
    there = hub.repositories[HF_BASE]
    ours = there.sha
    there.tags.clear()
    there.revisions.append({**there.files, "model.gguf": b"somebody else's"})
    assert stage.run(destination="hub").metrics["files_written"] == 0
    assert there.tags == {"v1": ours}
    assert len(there.revisions) == 3


def test_an_index_that_somebody_removed_does_not_make_a_version_number_come_twice(stage: Any, hub: Any) -> None:
    stage.run(destination="hub")
    there = hub.repositories[HF_BASE]
    there.revisions.append({path: content for path, content in there.files.items() if path != ".miniseries.json"})
    stage.run(destination="hub")
    assert there.tags.keys() == {"v1", "v2"}
    assert there.tags["v2"] == there.sha


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
    with pytest.raises(StageError, match=r"set HF_TOKEN, run `hf auth login`, or store one in .* block hf-token"):
        stage.run(destination="hub")
    assert hub.requests == []


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_hub_in_trouble_is_asked_again_and_ends_in_the_same_state(stage: Any, hub: Any, status: int) -> None:
    steps = ["/repos/create", "-base$", "/refs", "/commit/", "/tag/", "/settings", "/collections$", "/items"]
    hub.faults = [hub_server.Fault(step, status) for step in steps]
    stage.run(destination="hub", visibility="public", collection="Tiny series")
    assert_published_once(hub)


@pytest.mark.parametrize("answer", [hub_server.NO_TALK, hub_server.LOST_ANSWER])
def test_a_connection_that_drops_before_or_after_a_change_makes_it_once(stage: Any, hub: Any, answer: str) -> None:
    steps = ["/repos/create", "/commit/", "/tag/", "PUT .*/settings", "/collections$", "/items"]
    hub.faults = [hub_server.Fault(step, answer) for step in steps]
    stage.run(destination="hub", visibility="public", collection="Tiny series")
    assert_published_once(hub)


def test_who_asks_to_be_left_alone_is_left_alone_for_as_long(stage: Any, hub: Any, waits: list[float]) -> None:
    hub.faults = [
        hub_server.Fault("/commit/", 429, {"Retry-After": "7"}),
        hub_server.Fault("/commit/", 429, {"Retry-After": "86400"}),
        hub_server.Fault("/commit/", 429, {"Retry-After": "Sat, 21 Nov 2026 15:00:00 GMT"}),
    ]
    publication = stage.run(destination="hub")
    assert waits == [7.0, 300.0, 2.0]
    assert "trying again in 7 s" in publication.log
    assert_published_once(hub, private=True)


def test_a_repository_that_the_token_cannot_see_is_said(stage: Any, hub: Any) -> None:
    hub.faults = [hub_server.Fault("/preupload/", 404, {"X-Error-Code": "RepoNotFound"})]
    with pytest.raises(StageError, match="404: it does not exist or the token cannot see it"):
        stage.run(destination="hub")


def assert_published_once(hub: Any, *, private: bool = False) -> None:
    """Every fault happened; four repositories with one commit and one tag each, listed once."""
    assert hub.faults == []
    assert len(hub.repositories) == 4
    for repository in hub.repositories.values():
        assert repository.tags == {"v1": repository.sha}
        assert (len(repository.revisions), repository.private) == (2, private)
    for collection in hub.collections.values():
        assert sorted(item["id"] for item in collection["items"]) == sorted(hub.repositories)


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
