"""A batch job that begins again and again from one step is ended; one that comes further goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifacts.errors import StoreError
from tasks.perform import StageFailed
from tasks.slurm_job import SlurmBatchJob


def test_two_restarts_without_a_step_of_progress_end_the_job(tmp_path: Path) -> None:
    job = SlurmBatchJob(number=7, starts=tmp_path / "job-7.starts")
    for step in (None, 40, 40, 80, 80):
        job.note_start(step)
    with pytest.raises(StageFailed, match=r"Slurm job 7 began 3 times at step 80 .* \(MINISERIES_SLURM_TIME\)"):
        job.note_start(80)
    job.note_start(120)


def test_a_job_that_never_reaches_a_checkpoint_is_ended_too(tmp_path: Path) -> None:
    job = SlurmBatchJob(number=7, starts=tmp_path / "job-7.starts")
    job.note_start(None)
    job.note_start(None)
    with pytest.raises(StageFailed, match="at step 0"):
        job.note_start(None)


def test_outside_of_a_job_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(StoreError, match="leave it out"):
        SlurmBatchJob.from_environment()
