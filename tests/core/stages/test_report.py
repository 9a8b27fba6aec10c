"""Progress in the middle of whatever else lands in a stage's output."""

from __future__ import annotations

import io

import pytest

from core.stages.report import Measured, Progress, Reporter, parse


def written(stream: io.StringIO) -> list[Progress | Measured | str | None]:
    return [parse(line) for line in stream.getvalue().splitlines()]


def test_what_a_stage_reports_is_what_its_supervisor_reads() -> None:
    stream = io.StringIO()
    report = Reporter(stream, every=0.0)
    report.progress(1, 3, "shards", "first")
    report.log("a line for people")
    report.measured(250, {"validation_bpb": 1.25})
    report.sample(251, {"loss": 3.5})
    assert written(stream) == [
        Progress(1, 3, "shards", "first"),
        "a line for people",
        Measured(250, {"validation_bpb": 1.25}),
        Measured(251, {"loss": 3.5}),
    ]


def test_steps_are_sampled_and_measurements_all_told() -> None:
    stream = io.StringIO()
    report = Reporter(stream, every=3600.0)
    for step in range(10):
        report.sample(step, {"loss": 1.0})
        if step % 5 == 0:
            report.measured(step, {"validation_bpb": 2.0})
    assert [(told.step, *told.values) for told in written(stream) if isinstance(told, Measured)] == [
        (0, "loss"),
        (0, "validation_bpb"),
        (5, "validation_bpb"),
    ]


def test_progress_is_told_at_most_every_so_often_and_always_at_the_end() -> None:
    stream = io.StringIO()
    report = Reporter(stream, every=3600.0)
    for done in range(1, 11):
        report.progress(done, 10, "steps")
    assert written(stream) == [Progress(1, 10, "steps", ""), Progress(10, 10, "steps", "")]


@pytest.mark.parametrize(
    "line", ["", "a warning", '@progress {"done": 1, "tot', "@progress {}", "@progress 3", '@measured {"step": 1']
)
def test_any_other_line_is_nothing_even_a_report_that_was_cut_short(line: str) -> None:
    assert parse(line) is None
