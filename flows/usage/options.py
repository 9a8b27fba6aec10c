"""Arguments and options that several commands share, and the tags they choose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from core.recipes.table import chosen_family

Tag = Annotated[
    str, typer.Argument(help="A tag, e.g. tiny_drope_50_long or d20-40tpp; `miniseries recipes` lists them.")
]
Tags = Annotated[list[str] | None, typer.Argument(help="Tags; none with --all.")]
All = Annotated[bool, typer.Option("--all", help="The 20 models of the miniseries, or every tag of --series.")]
StageName = Annotated[str, typer.Argument(help="A stage kind, or the beginning of a key.")]
Phase = Annotated[
    Literal["base", "sft"] | None, typer.Option(help="The base model or its fine-tune; default: the fine-tune.")
]
To = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Copy it there, verified; none: say where the store has it.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
BudgetHours = Annotated[
    float | None, typer.Option(min=0.0, help="Do not start when more GPU-hours than this are to do.")
]
AcceptRetrain = Annotated[
    bool, typer.Option("--accept-retrain", help="A changed recipe may leave finished GPU-hours behind.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before starting what takes GPU-hours.")]


def chosen(tags: list[str] | None, every: bool) -> list[str]:
    """The tags named, or the whole family. Raises `typer.BadParameter` for none."""
    if every:
        return chosen_family()
    if not tags:
        raise typer.BadParameter("name at least one tag, or --all for the 20 models of the miniseries")
    return tags
