"""`miniseries study` on a store in which everything that it compares is there, and publishing with what it found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running import Miniseries

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("finished")]

TAG = "micro_drope_50_long"


def test_a_study_is_made_once_and_its_cards_stay_when_the_tag_is_published_again(
    finished: Miniseries, tmp_path: Path
) -> None:
    copy = finished.on_copy(tmp_path)
    made = copy.run("study", TAG, "--publish", "--to", str(tmp_path / "report"))
    assert made.returncode == 0, made.stderr
    assert "0 to make before it" in made.stdout
    assert f"report: {tmp_path / 'report' / 'report.html'}" in made.stdout
    (study,) = copy.manifests("study")
    cards = {path: path.read_text() for path in (tmp_path / "store" / "hub").glob("*/*/README.md")}
    assert len(cards) == 4
    assert all("### Beside its siblings" in text and "study.html" in text for text in cards.values())

    again = copy.json("study", TAG, "--json")
    assert [one["key"] for one in copy.manifests("study")] == [study["key"]]
    found = json.loads((tmp_path / "report" / "study.json").read_text())
    assert again["contrasts"] == found["contrasts"]
    assert {one["family"] for one in found["contrasts"]} == {"RoPE switched off"}  # micro models read nothing longer

    published = copy.json("run", TAG, "--json", PREFECT_API_URL="")
    assert {stage["state"] for stage in published["stages"].values()} == {"cached"}
    assert {path: path.read_text() for path in cards} == cards
