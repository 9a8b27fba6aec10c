"""What `run` asks before it starts anything: of a person on a terminal a yes, of a script only what its options say."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from dataclasses import replace

from committing import commit_all
from running import PROGRAM, ROOT, Miniseries

from artifacts.store import Store
from core.planning.pipeline import pipeline_stages
from core.recipes.table import find_recipe

REAL = "d18_9tpp"


def test_a_person_who_says_no_has_started_nothing(miniseries: Miniseries) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), "run", REAL],
        cwd=ROOT,
        env=miniseries.environment_for({}),
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    asked = ""
    while "Start? [y/N]" not in asked:
        assert select.select([ours], [], [], 60)[0], asked
        asked += os.read(ours, 4096).decode()
    assert "GPU-hours" in asked
    os.write(ours, b"n\n")
    output, _ = process.communicate(timeout=300)
    os.close(ours)
    assert process.returncode == 1
    assert re.search(rf"{REAL}: (\d+) stages, \1 to make", output)
    assert Store.open(miniseries.store).survey() == {}


def test_more_than_the_budget_is_not_started(miniseries: Miniseries) -> None:
    done = miniseries.run("run", REAL, "--budget-hours", "1.5")
    assert done.returncode == 1
    assert "above the budget of 1.5" in done.stderr.splitlines()[-1]
    assert Store.open(miniseries.store).survey() == {}


def test_finished_work_that_a_changed_recipe_would_leave_behind_must_be_given_up_by_name(
    miniseries: Miniseries,
) -> None:
    recipe = find_recipe("tiny")
    earlier = replace(recipe, pretraining=replace(recipe.pretraining, seed=7))
    commit_all(Store.open(miniseries.store), pipeline_stages(earlier), hours=2.0)
    refused = miniseries.run("run", recipe.tag, "--budget-hours", "0")
    assert refused.returncode == 1
    assert "seed" in refused.stderr
    assert "--accept-retrain" in refused.stderr.splitlines()[-1]
    accepted = miniseries.run("run", recipe.tag, "--budget-hours", "0", "--accept-retrain")
    assert "above the budget of 0" in accepted.stderr.splitlines()[-1]
