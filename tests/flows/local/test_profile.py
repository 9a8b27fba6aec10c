"""The Prefect profile of `miniseries up`: active while it is up; afterwards the file is what it was, byte for byte."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_PROFILES_PATH, temporary_settings

from flows.local.folder import InstallationFolder
from flows.local.profile import activate_profile, restore_profile

URL = "http://127.0.0.1:4317/api"
MINE = '# mine\nactive = "quiet"\n[profiles.quiet]\nPREFECT_LOGGING_LEVEL = "ERROR"\n\n[profiles.team]\n'


@pytest.fixture
def profiles(tmp_path: Path) -> Iterator[Path]:
    """Where the profiles file is; there is none yet."""
    path = tmp_path / "prefect" / "profiles.toml"
    with temporary_settings({PREFECT_PROFILES_PATH: path}):
        yield path


def content(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())


def test_a_file_that_was_not_there_is_gone_again(tmp_path: Path, profiles: Path) -> None:
    folder = InstallationFolder(tmp_path)
    change = activate_profile(folder, URL)
    assert content(profiles) == {"active": "miniseries", "profiles": {"miniseries": {"PREFECT_API_URL": URL}}}
    restore_profile(folder, change)
    assert not profiles.exists()


def test_the_active_profile_is_continued_and_the_file_put_back_with_its_comments(
    tmp_path: Path, profiles: Path
) -> None:
    folder = InstallationFolder(tmp_path)
    profiles.parent.mkdir()
    profiles.write_text(MINE)
    profiles.chmod(0o600)
    change = activate_profile(folder, URL)
    assert content(profiles)["active"] == "miniseries"
    assert content(profiles)["profiles"] == {
        "quiet": {"PREFECT_LOGGING_LEVEL": "ERROR"},
        "team": {},
        "miniseries": {"PREFECT_LOGGING_LEVEL": "ERROR", "PREFECT_API_URL": URL},
    }
    restore_profile(folder, change)
    assert profiles.read_text() == MINE
    assert profiles.stat().st_mode & 0o777 == 0o600
    assert not folder.profiles_before.exists()


def test_what_the_user_changed_meanwhile_is_kept(tmp_path: Path, profiles: Path) -> None:
    folder = InstallationFolder(tmp_path)
    profiles.parent.mkdir()
    profiles.write_text(MINE)
    change = activate_profile(folder, URL)
    profiles.write_text(profiles.read_text().replace("[profiles.team]", '[profiles.team]\nPREFECT_API_KEY = "k"'))
    restore_profile(folder, change)
    assert content(profiles) == {
        "active": "quiet",
        "profiles": {"quiet": {"PREFECT_LOGGING_LEVEL": "ERROR"}, "team": {"PREFECT_API_KEY": "k"}},
    }


def test_a_user_who_switched_to_another_profile_stays_there(tmp_path: Path, profiles: Path) -> None:
    folder = InstallationFolder(tmp_path)
    profiles.parent.mkdir()
    profiles.write_text(MINE)
    change = activate_profile(folder, URL)
    profiles.write_text(profiles.read_text().replace('active = "miniseries"', 'active = "team"'))
    restore_profile(folder, change)
    assert content(profiles)["active"] == "team"
    assert "miniseries" not in content(profiles)["profiles"]
