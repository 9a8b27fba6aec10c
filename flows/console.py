"""Where the command line writes: tables sized for a terminal, whole lines for a pipe, errors in one line."""

from __future__ import annotations

import json
import sys
from typing import Literal

from rich.console import Console
from rich.table import Table

PIPE_WIDTH = 400  # a file has no width: wide enough that no cell is wrapped


def console() -> Console:
    """Standard output, styled only on a terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    json.dump(value, sys.stdout, indent=1)
    sys.stdout.write("\n")


def print_error(line: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"miniseries: {' '.join(line.split())}\n")


def listing(*columns: str) -> Table:
    """A plain table; numbers go right by giving a column name that ends with `>`.

    On a narrow terminal the widest texts wrap first, and numbers last: nothing is cut.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        is_number = column.endswith(">")
        justify: Literal["left", "right"] = "right" if is_number else "left"
        table.add_column(column.rstrip(">"), justify=justify, no_wrap=is_number, overflow="fold")
    return table


def count(value: float) -> str:
    """1,234,567 as people compare it: 1.23M."""
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if abs(value) >= limit:
            return f"{value / limit:.2f}{unit}"
    return f"{value:,.0f}"


def data_size(value: int) -> str:
    """2,972,851,200 bytes as people compare them: 2.97 GB."""
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "KB")):
        if value >= limit:
            return f"{value / limit:.2f} {unit}"
    return f"{value} B"


def decimal(value: float) -> str:
    """Hours and money: two decimals, two digits below one; what is small does not read as nothing."""
    return f"{value:,.2f}" if value >= 1 or value == 0 else f"{value:.2g}"
