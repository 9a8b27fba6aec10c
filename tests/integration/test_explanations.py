"""`why`, `diff` and `--series` as commands: what a person reads, and one line when something is wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from running import Miniseries

EXAMPLES = Path(__file__).parents[2] / "examples"
SERIES = "name: study\nbase: tiny\naxes: {steps: [80], drope: [null, 50]}\n"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A series file of two cells."""
    path = tmp_path / "study.yaml"
    path.write_text(SERIES)
    return path


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_why_names_every_field_and_where_a_series_set_it(miniseries: Miniseries, study: Path) -> None:
    said = succeeded(miniseries.run("why", "study_80steps_drope_50", "recalibrate", "--series", str(study)))
    lines = {line.split()[0]: line for line in said.splitlines() if line.strip()}
    assert "axis steps of study.yaml" in lines["steps"]
    assert "fixed by the tiny family (core.recipes.tiny.DEPTH)" in lines["architecture.depth"]
    assert "No other tag shares it." in said
    (listing,) = miniseries.json("why", "d20-40tpp", "mixture", "--json")
    assert listing["shared_by"] == [tag for tag in listing["shared_by"] if tag.startswith(("d18", "d20"))]
    assert listing["key"] == miniseries.json("show", "d20_40tpp", "mixture", "--json")[0]["key"]


def test_diff_tells_two_tags_apart(miniseries: Miniseries) -> None:
    said = succeeded(miniseries.run("diff", "d20_20tpp", "d20_20tpp_drope_50"))
    assert "pretraining.rope_drop" in said
    assert "Only in d20_20tpp_drope_50: recalibrate without RoPE d20_20tpp_drope_50 steps 4,181-8,362." in said
    assert "4.38B tokens" in said


def test_diff_tells_a_series_from_what_it_was(miniseries: Miniseries, study: Path, tmp_path: Path) -> None:
    earlier = tmp_path / "earlier.yaml"
    earlier.write_text(SERIES + "set: {pretraining: {seed: 7}}\n")
    arguments = ("diff", "study_80steps", "--series", str(study), "--against-series", str(earlier))
    found = miniseries.json(*arguments, "--json")
    assert found["fields"] == [{"field": "pretraining.seed", "before": 7, "after": 42}]
    assert found["orphaned"] == []
    assert "seed: 7 -> 42" in succeeded(miniseries.run(*arguments))


def test_diff_of_one_tag_tells_what_the_store_holds_of_earlier_revisions(miniseries: Miniseries) -> None:
    assert "nothing that is to be made was finished" in succeeded(miniseries.run("diff", "tiny"))
    assert miniseries.json("diff", "tiny", "--json") == {"tag": "tiny", "superseded": [], "gpu_hours": 0}


def test_all_means_the_tags_of_the_series_that_are_named(miniseries: Miniseries, study: Path) -> None:
    plan = miniseries.json("plan", "--all", "--json", "--series", str(study))
    assert {tag for stage in plan["stages"] for tag in stage["tags"]} == {"study_80steps", "study_80steps_drope_50"}
    assert plan["totals"]["tokens"] == 1.5 * 80 * 2048
    listed = miniseries.json("recipes", "--json", MINISERIES_SERIES=str(study))
    assert {"study_80steps", "study_80steps_drope_50", "tiny"} <= {recipe["tag"] for recipe in listed}
    both = miniseries.json("plan", "--all", "--json", "--series", str(study), "--series", str(EXAMPLES / "depths.yaml"))
    assert len({tag for stage in both["stages"] for tag in stage["tags"]}) == 2 + 32


def test_a_series_file_that_vanished_or_is_wrong_is_one_line(miniseries: Miniseries, study: Path) -> None:
    study.write_text(SERIES.replace("drope", "drop"))
    for path, said in ((study, "did you mean drope"), (study.with_name("gone.yaml"), "No such file")):
        for verb in ("recipes", "plan"):
            done = miniseries.run(verb, *(["--all"] if verb == "plan" else []), "--series", str(path))
            assert done.returncode == 1
            (line,) = done.stderr.splitlines()
            assert line.startswith(f"miniseries: {path}: ")
            assert said in line
