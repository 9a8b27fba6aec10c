"""What users get wrong and machines do to them: one line, non-zero, nothing half-written counted as done."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from running import Miniseries
from s3_server import free_port


def one_line(errors: str) -> str:
    """The one line that says what went wrong; progress lines may stand before it, nothing after it."""
    *progress, line = errors.strip().splitlines()
    assert line.startswith("miniseries: "), errors
    assert not [other for other in progress if other.startswith(("miniseries: ", "Traceback"))], errors
    return line


def failing(miniseries: Miniseries, *arguments: str, **environment: str) -> str:
    done = miniseries.run(*arguments, **environment)
    assert done.returncode == 1
    return one_line(done.stderr)


def test_an_unknown_tag_is_answered_with_the_nearest(miniseries: Miniseries) -> None:
    for verb in ("run", "plan"):
        assert "did you mean d20_40tpp_drope_50" in failing(miniseries, verb, "d20-40tpp-drop-50")


def test_a_setting_that_is_no_number_is_named(miniseries: Miniseries) -> None:
    assert "MINISERIES_PROCESSES='many'" in failing(miniseries, "plan", "tiny", MINISERIES_PROCESSES="many")


def test_a_store_that_cannot_be_reached_is_named(miniseries: Miniseries) -> None:
    dead = {
        "MINISERIES_STORE": "s3://nowhere/prefix",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "very-secret",
        "AWS_MAX_ATTEMPTS": "1",
    }
    line = failing(miniseries, "make", "micro", "corpus", **dead)
    assert "s3://nowhere/prefix" in line
    assert "very-secret" not in line


def test_an_unknown_kind_of_store_is_refused(miniseries: Miniseries) -> None:
    assert "ftp" in failing(miniseries, "plan", "tiny", MINISERIES_STORE="ftp://host/path")


def test_a_store_that_cannot_be_written_is_named(miniseries: Miniseries, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    place = str(tmp_path / "file" / "store")
    assert place in failing(miniseries, "make", "micro", "corpus", MINISERIES_STORE=place)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.slow
def test_a_full_disk_stops_the_stage_and_nothing_counts_as_done(miniseries: Miniseries, tmp_path: Path) -> None:
    disk = tmp_path / "small"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=500k", "tmpfs", disk], check=False)
    if mounted.returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    try:
        line = failing(Miniseries(tmp_path, str(disk / "store")), "make", "micro", "corpus")
        assert "space" in line
        assert not list((disk / "store").glob("*/*/manifest.json"))
    finally:
        subprocess.run(["umount", disk], check=True)
