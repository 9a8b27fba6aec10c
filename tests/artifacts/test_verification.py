"""What was hashed is not hashed again until it changes; what changed is."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from artifacts import verification
from artifacts.transfer import record_files
from artifacts.verification import VerifiedFiles

LONG_AGO = time.time() - 3600


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A folder with one file that was written an hour ago, as far as its modification time tells."""
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "rows").write_bytes(b"rows")
    return folder


def test_the_same_size_and_a_restored_modification_time_do_not_hide_a_change(tmp_path: Path, artifact: Path) -> None:
    files = record_files(artifact)
    memory = VerifiedFiles(tmp_path / "memory.json")
    assert memory.check("a", artifact, files, afresh=False) == []
    before = os.stat(artifact / "rows")
    (artifact / "rows").write_bytes(b"bows")
    os.utime(artifact / "rows", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [damage.file for damage in memory.check("a", artifact, files, afresh=False)] == ["rows"]


def test_a_change_right_after_hashing_is_noticed(tmp_path: Path, artifact: Path) -> None:
    files = record_files(artifact)
    memory = VerifiedFiles(tmp_path / "memory.json")
    for content in (b"bows", b"rows", b"cows"):
        (artifact / "rows").write_bytes(content)
        assert bool(memory.check("a", artifact, files, afresh=False)) == (content != b"rows")


@pytest.mark.parametrize("content", [b"", b"not json", b"[1]", b'{"rows": "text"}'])
def test_a_garbled_memory_costs_a_hashing_and_nothing_else(tmp_path: Path, artifact: Path, content: bytes) -> None:
    files = record_files(artifact)
    (tmp_path / "memory.json").write_bytes(content)
    assert VerifiedFiles(tmp_path / "memory.json").check("a", artifact, files, afresh=False) == []
    (artifact / "rows").unlink()
    damages = VerifiedFiles(tmp_path / "memory.json").check("a", artifact, files, afresh=False)
    assert [str(damage) for damage in damages] == ["rows: the file is missing"]


def test_checking_some_files_forgets_nothing_of_the_others(
    tmp_path: Path, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "RESOLUTION_SECONDS", -60)
    (artifact / "more").write_bytes(b"more")
    files = record_files(artifact)
    memory = VerifiedFiles(tmp_path / "memory.json")
    memory.check("a", artifact, files, afresh=False)
    remembered = (tmp_path / "memory.json").read_bytes()
    memory.check("a", artifact, files[:1], afresh=False)
    assert json.loads((tmp_path / "memory.json").read_bytes()) == json.loads(remembered)


def test_what_decayed_is_not_believed_after_it_was_hashed_again(
    tmp_path: Path, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "RESOLUTION_SECONDS", -60)
    files = record_files(artifact)
    memory = VerifiedFiles(tmp_path / "memory.json")
    assert memory.check("a", artifact, files, afresh=False) == []
    monkeypatch.setattr(verification, "difference", lambda *_: "other bytes under the same stamp")
    assert memory.check("a", artifact, files, afresh=False) == []
    for afresh in (True, False):
        assert [damage.file for damage in memory.check("a", artifact, files, afresh=afresh)] == ["rows"]
