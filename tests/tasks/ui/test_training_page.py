"""A training stage as Markdown: pictures that both user interfaces show, and its last measurements."""

from __future__ import annotations

import re
from base64 import b64decode
from xml.etree import ElementTree

from tasks.ui.training_page import ROWS, Record, training_page


def pictures_of(page: str) -> list[str]:
    return [b64decode(found).decode() for found in re.findall(r"!\[[^]]+]\(data:image/svg\+xml;base64,([^)]+)\)", page)]


def rows_of(page: str) -> list[list[str]]:
    lines = [line for line in page.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def trained(steps: int, every: int) -> list[Record]:
    records: list[Record] = []
    for step in range(steps):
        if step % every == 0:
            records.append((step, {"validation_bpb": 2.0 + 1 / (step + 1)}))
        records.append((step, {"loss": 3.0 + 1 / (step + 1), "tokens_per_second": 12345.0, "gradient_norm": 1.0}))
    return records


def test_a_page_has_how_far_the_stage_is_its_curve_and_its_last_measurements() -> None:
    page = training_page("pretrain tiny steps 0-75", "41 of 75 steps", trained(41, 10), {})
    assert page.splitlines()[0] == "41 of 75 steps"
    (curve,) = pictures_of(page)
    root = ElementTree.fromstring(curve)
    assert (root.get("width"), root.get("height")) == ("760", "380")
    assert "pretrain tiny steps 0-75" in curve
    head, _, *rows = rows_of(page)
    assert head == ["step", "loss (nats)", "validation bits per byte", "tokens/s"]
    assert [row[0] for row in rows] == ["0", "10", "20", "30", "40"]
    assert rows[1] == ["10", "3.0909", "2.0909", "12,345"]


def test_only_the_last_rows_and_the_newest_step_are_in_the_table() -> None:
    _, _, *rows = rows_of(training_page("long", "running", trained(1999, 10), {}))
    assert len(rows) == ROWS + 1
    assert rows[-1] == ["1,998", "3.0005", "", "12,345"]


def test_a_stage_that_has_measured_nothing_yet_shows_its_losses() -> None:
    records = [record for record in trained(30, 10) if "loss" in record[1]]
    head, _, *rows = rows_of(training_page("short", "running", records, {}))
    assert head == ["step", "loss (nats)", "tokens/s"]
    assert [row[0] for row in rows] == [str(step) for step in range(30 - ROWS, 30)]


def test_what_dropping_rope_cost_is_told_and_shown() -> None:
    drop = {"validation_bpb": 2.5, "drop_bpb_with_rope": 2.0, "drop_bpb_without_rope": 2.5}
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 480 430"></svg>'
    page = training_page("recalibrate", "made", [(120, drop)], {"recovery": svg})
    assert "At step 120 RoPE was dropped: 2.0000 bits per byte with it, 2.5000 without it." in page
    assert ElementTree.fromstring(pictures_of(page)[1]).get("width") == "480"
