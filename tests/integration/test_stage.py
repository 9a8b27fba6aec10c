"""`miniseries stage`: one stage, here and now, from what is there."""

from __future__ import annotations

from running import Miniseries


def test_a_stage_is_made_here_from_what_is_there_whatever_dispatch_says(miniseries: Miniseries) -> None:
    lacking = miniseries.run("stage", "micro", "tokenizer")
    assert lacking.returncode == 1
    assert "is not in store" in lacking.stderr
    done = miniseries.run("stage", "micro", "corpus", MINISERIES_DISPATCH="slurm", MINISERIES_SLURM_FOLDER="/nowhere")
    assert done.returncode == 0, done.stderr
    assert len(miniseries.manifests("corpus")) == 1
    again = miniseries.run("stage", "micro", "corpus")
    assert "cached" in again.stdout


def test_which_stage_is_meant_must_be_clear_and_publishing_is_asked_for_elsewhere(miniseries: Miniseries) -> None:
    several = miniseries.run("stage", "micro", "pretrain")
    assert several.returncode == 1
    assert "micro has 4 stages 'pretrain'; name one by the beginning of its key" in several.stderr
    publishing = miniseries.run("stage", "micro", "publish")
    assert publishing.returncode == 1
    assert "run miniseries publish micro" in publishing.stderr
    outside = miniseries.run("stage", "micro", "corpus", "--slurm-job")
    assert outside.returncode == 1
    assert "leave it out to make a stage here" in outside.stderr
