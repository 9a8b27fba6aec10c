"""Progress in the middle of whatever else lands in a stage's output."""

from __future__ import annotations

import io

import pytest

from core.stages.report import Progress, Reporter, parse


def written(stream: io.StringIO) -> list[Progress | str | None]:
    return [parse(line) for line in stream.getvalue().splitlines()]


def test_what_a_stage_reports_is_what_its_supervisor_reads() -> None:
    stream = io.StringIO()
    report = Reporter(stream, every=0.0)
    report.progress(1, 3, "shards", "first")
    report.log("a line for people")
    assert written(stream) == [Progress(1, 3, "shards", "first"), "a line for people"]


def test_progress_is_told_at_most_every_so_often_and_always_at_the_end() -> None:
    stream = io.StringIO()
    report = Reporter(stream, every=3600.0)
    for done in range(1, 11):
        report.progress(done, 10, "steps")
    assert written(stream) == [Progress(1, 10, "steps", ""), Progress(10, 10, "steps", "")]


@pytest.mark.parametrize("line", ["", "a warning", '@progress {"done": 1, "tot', "@progress {}", "@progress 3"])
def test_any_other_line_is_nothing_even_a_report_that_was_cut_short(line: str) -> None:
    assert parse(line) is None
