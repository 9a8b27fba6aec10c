"""A stage while it runs, as its Prefect server is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from core.planning.catalogue import stages_of
from core.planning.stage import Stage
from core.stages.kind import StageKind
from core.stages.report import Measured, Progress
from tasks.ui.page import Page, page_key
from tasks.ui.stage_display import StageDisplay
from tasks.ui.time_left import TimeLeft, spoken


def stage_of(kind: StageKind) -> Stage:
    return next(stage for stage in stages_of("tiny_drope_50").values() if stage.kind is kind)


@dataclass
class Shown:
    """A board of which every state is seen."""

    pages: dict[str, list[Page]] = field(default_factory=dict)

    def show(self, key: str, render: Callable[[], Page]) -> None:
        self.pages.setdefault(key, []).append(render())


def test_keys_are_what_prefect_accepts_and_tell_stages_apart() -> None:
    keys = {page_key(stage, "loss") for stage in stages_of("tiny_drope_50").values()}
    assert len(keys) == len(stages_of("tiny_drope_50"))
    stage = stage_of(StageKind.EVALUATE)
    assert page_key(stage, "results") == f"results-evaluate-{stage.name.replace('_', '-')}-{stage.key[:8]}"
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for key in keys)


def test_a_training_has_a_bar_and_a_curve_that_end_as_the_stage_ended() -> None:
    stage, board = stage_of(StageKind.RECALIBRATE), Shown()
    display = StageDisplay(stage, board)
    display.begin("a title")
    display.measure("a title", Measured(120, {"validation_bpb": 2.5}))
    for done in (30, 60):
        display.advance("a title", Progress(done, 120, "steps", f"loss 4.{done}"))
    display.measure("a title", Measured(150, {"loss": 4.3}))
    display.end("a title", "stopped", 75.0, "")
    bars, curves = (board.pages[page_key(stage, what)] for what in ("progress", "loss"))
    assert [bar.data for bar in bars] == [25.0, 50.0, 50.0]
    assert bars[1].description.startswith("60 of 120 steps · loss 4.60 · about ")
    assert bars[-1].description == "60 of 120 steps · loss 4.60 · stopped after 1 min 15 s"
    assert [curve.description for curve in curves] == ["running", bars[-1].description]
    assert "| 150 | 4.3000 |" in str(curves[-1].data)


def test_a_stage_that_is_no_training_has_a_bar_alone() -> None:
    stage, board = stage_of(StageKind.EVALUATE), Shown()
    display = StageDisplay(stage, board)
    display.advance("a title", Progress(0, 0, "questions", ""))
    display.measure("a title", Measured(1, {"loss": 1.0}))
    display.end("a title", "made", 1.0, "")
    assert list(board.pages) == [page_key(stage, "progress")]


def test_the_time_left_is_told_from_what_this_process_did() -> None:
    left = TimeLeft(iter([100.0, 130.0, 160.0]).__next__)
    assert left.after(Progress(900, 1200, "steps", "")) is None
    assert left.after(Progress(1000, 1200, "steps", "")) == 60.0
    assert left.after(Progress(1200, 1200, "steps", "")) is None
    assert spoken(60.0) == " · about 1 min 0 s left"
