"""What people see: nothing is cut on a narrow terminal, nothing is taken for markup."""

from __future__ import annotations

import io
import logging

from rich.console import Console

from core.stages.report import Progress
from tasks.display import BarDisplay, BothDisplays, LineDisplay, display_with, shown_on

TITLE = "recalibrate without RoPE tiny_drope_50_long steps 120-240 [fc2cf17d]"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines_of(logger: logging.Logger) -> io.StringIO:
    stream = io.StringIO()
    logger.handlers, logger.propagate = [logging.StreamHandler(stream)], False
    logger.setLevel(logging.INFO)
    return stream


def test_a_bar_shows_count_and_loss_on_80_columns_whatever_the_length_of_the_title() -> None:
    terminal = Terminal()
    display = BarDisplay(Console(file=terminal, force_terminal=True, width=80, color_system=None))
    display.begin(TITLE)
    display.advance(TITLE, Progress(75, 120, "steps", "loss 4.1234"))
    display.end(TITLE, "made", 12.3, "")
    shown = terminal.getvalue()
    assert "75/120 steps" in shown
    assert "loss 4.1234" in shown
    assert "recalibrate" in shown


def test_a_stage_may_begin_after_another_ended_and_brackets_are_kept() -> None:
    terminal = Terminal()
    display = BarDisplay(Console(file=terminal, force_terminal=True, width=120, color_system=None))
    for title in ("first [aaaaaaaa]", "second [bbbbbbbb]"):
        display.begin(title)
        display.advance(title, Progress(1, 2, "shards", "[/nonsense] text"))
        display.say("waiting for [red] process 1")
        display.end(title, "made", 1.0, "")
    shown = terminal.getvalue()
    for text in (
        "+ first [aaaaaaaa]  made",
        "+ second [bbbbbbbb]  made",
        "[/nonsense] text",
        "waiting for [red] process",
    ):
        assert text in shown


def test_a_log_gets_a_line_at_begin_and_end_and_not_one_for_every_step() -> None:
    logger = logging.getLogger("test-lines")
    stream = lines_of(logger)
    display = LineDisplay(logger)
    display.begin("pack")
    for done in range(1000):
        display.advance("pack", Progress(done, 1000, "rows", ""))
    display.end("pack", "made", 1.0, "10 rows")
    assert stream.getvalue().splitlines()[:1] == ["pack: started"]
    assert stream.getvalue().splitlines()[-1] == "pack: made in 1.0 s  10 rows"
    assert len(stream.getvalue().splitlines()) < 10


def test_a_stage_has_one_line_in_ten_seconds_its_own_or_how_far_it_is() -> None:
    now = 0.0
    logger = logging.getLogger("test-pace")
    stream = lines_of(logger)
    display = LineDisplay(logger, lambda: now)
    display.begin(TITLE)
    for second in range(1, 51):
        now = float(second)
        if second in (12, 23):
            display.say(f"{TITLE}: step {second}/120: loss 4.1")
        display.advance(TITLE, Progress(second, 120, "steps", ""))
    told = [line.removeprefix(TITLE).strip() for line in stream.getvalue().splitlines()]
    assert told == [
        ": started",
        ": 10/120 steps",
        f"{TITLE}: step 12/120: loss 4.1",
        f"{TITLE}: step 23/120: loss 4.1",
        ": 43/120 steps",
    ]


def test_a_task_tells_its_log_and_the_display_in_use() -> None:
    log, screen = lines_of(logging.getLogger("test-log")), lines_of(logging.getLogger("test-screen"))
    with shown_on(LineDisplay(logging.getLogger("test-screen"))):
        display = display_with(logging.getLogger("test-log"))
        assert isinstance(display, BothDisplays)
        display.begin("pack")
    assert log.getvalue() == screen.getvalue() == "pack: started\n"
    assert isinstance(display_with(logging.getLogger("test-log")), LineDisplay)
