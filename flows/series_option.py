"""The option `--series FILE` of every command: tags of users' own series, for this process and what it starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from core.recipes.table import SERIES_VARIABLE


def use_series(files: list[Path] | None) -> list[Path] | None:
    """Add `files` to MINISERIES_SERIES as absolute paths; they are read when a tag is first looked up."""
    if files:
        named = [os.environ.get(SERIES_VARIABLE, ""), *(str(file.absolute()) for file in files)]
        os.environ[SERIES_VARIABLE] = os.pathsep.join(filter(None, named))
    return files


Series = Annotated[
    list[Path] | None,
    typer.Option(
        "--series",
        metavar="FILE",
        callback=use_series,
        help="A series of your own in YAML (see examples/); may be given more than once. --all then means its tags.",
    ),
]
