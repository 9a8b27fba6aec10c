"""Provenance says which code on which machine, and nothing that could be secret."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from artifacts.provenance import capture


def git(folder: Path, *arguments: str) -> str:
    """Run git with an identity of its own."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_revision_is_named_and_so_is_a_dirty_tree(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "code.py").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    clean = capture(tmp_path)
    assert (clean["revision"], clean["dirty"]) == (git(tmp_path, "rev-parse", "HEAD"), False)
    (tmp_path / "new.py").write_text("2")
    assert capture(tmp_path)["dirty"] is True


def test_without_a_checkout_the_revision_is_unknown(tmp_path: Path) -> None:
    found = capture(tmp_path)
    assert (found["revision"], found["dirty"]) == (None, None)


def test_versions_are_listed_and_the_environment_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SETTING", "value-of-some-setting")
    found = capture(tmp_path)
    assert "pydantic" not in found["packages"]
    assert set(found["packages"]) >= {"numpy", "s3fs", "pyarrow"}
    assert "value-of-some-setting" not in json.dumps(found)
