"""`miniseries data` after a real run: what it says of files and rows is what the steps have read."""

from __future__ import annotations

import pytest
from running import Miniseries

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("finished")]

TAG = "micro_drope_50_long"


def test_the_files_account_for_every_token_that_was_trained_on(finished: Miniseries) -> None:
    ledger = finished.json("data", TAG, "--json")
    files = [file for group in ledger["groups"] for file in group["files"]]
    assert ledger["exact"]
    assert ledger["steps_trained"] == ledger["steps"]
    assert sum(file["seen"]["tokens"] for file in files) == ledger["tokens"] == ledger["tokens_trained"]
    assert all(file["bytes"] and file["sha256"] for file in files)
    assert [tuning["trained"] for tuning in ledger["finetunes"]] == [True, True]
    runs = finished.json("data", TAG, "--file", files[0]["file"], "--json")["runs"]
    assert runs[-1]["end"] == files[0]["documents"]
    assert sum(run["end"] - run["first"] for run in runs if run["times"]) == files[0]["seen"]["documents"]


def test_people_read_it_as_tables(finished: Miniseries) -> None:
    said = finished.run("data", TAG)
    assert said.returncode == 0, said.stderr
    assert "shard_00000.parquet" in said.stdout
    assert "spelling-bee" in said.stdout
    unknown = finished.run("data", TAG, "--file", "nothing")
    assert (unknown.returncode, len(unknown.stderr.splitlines())) == (1, 1)


def test_of_a_model_that_is_not_made_it_says_what_is_planned(miniseries: Miniseries) -> None:
    ledger = miniseries.json("data", "d20_20tpp", "--json")
    assert (ledger["steps_trained"], ledger["exact"]) == (0, False)
    assert {group["state"] for group in ledger["groups"]} == {"planned"}
    assert sum(group["rows_at_end"] for group in ledger["groups"]) * ledger["sequence_length"] == ledger["tokens"]
    said = miniseries.run("data", "d20_20tpp")
    assert "planned, estimated" in said.stdout, said.stderr
