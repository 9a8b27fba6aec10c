"""Tables for people: every number is there on the narrowest usual terminal, every row is one line in a pipe."""

from __future__ import annotations

import io

from rich.console import Console

from flows.console import PIPE_WIDTH, data_size, decimal, listing

ROW = (
    "recalibrate without RoPE tiny_drope_50_long steps 120-240",
    "fc2cf17d59d2",
    "cached",
    "1,234.5 s",
    "491.52K",
    "bits per byte at the drop 2.4706 with RoPE, 2.6708 without; 2.0797 recalibrated",
)


def printed(width: int) -> str:
    stream = io.StringIO()
    table = listing("stage", "key", "state", "time>", "tokens>", "result")
    table.add_row(*ROW)
    Console(file=stream, width=width).print(table)
    return stream.getvalue()


def letters(text: str) -> list[str]:
    """Every character but white space, in an order that wrapping does not change."""
    return sorted("".join(text.split()))


def test_on_80_columns_texts_wrap_and_nothing_is_cut() -> None:
    shown = printed(80)
    assert max(map(len, shown.splitlines())) <= 80
    for cell in ROW[1:5]:
        assert cell in shown
    assert letters(shown.partition("\n")[2]) == letters("".join(ROW))


def test_in_a_pipe_a_row_is_a_line() -> None:
    heading, row = printed(PIPE_WIDTH).splitlines()
    assert heading.split() == ["stage", "key", "state", "time", "tokens", "result"]
    assert all(cell in row for cell in ROW)


def test_sizes_are_written_in_the_largest_unit_that_fits() -> None:
    assert [data_size(value) for value in (0, 999, 1_000, 2_972_851_200, 5 * 10**12)] == [
        "0 B",
        "999 B",
        "1.00 KB",
        "2.97 GB",
        "5.00 TB",
    ]


def test_small_hours_do_not_read_as_none() -> None:
    assert [decimal(value) for value in (0.0, 4e-6, 0.871, 1.0, 1234.5)] == [
        "0.00",
        "4e-06",
        "0.87",
        "1.00",
        "1,234.50",
    ]
