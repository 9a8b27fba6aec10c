"""What a model is, what it takes, what exists of it: `recipes plan calibrate status show why diff data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.planning.cost import DOLLARS_PER_GPU_HOUR, Terms
from core.recipes.table import recipes
from flows.series_option import Series
from flows.usage.options import All, Json, StageName, Tag, Tags, chosen

app = typer.Typer()

DATA_EXAMPLES = """Examples:

\b
  miniseries data tiny_drope_50
  miniseries data d20_40tpp --json
  miniseries data tiny --file shard_00002.parquet"""


@app.command("recipes", epilog="Example: miniseries recipes --json")
def recipes_command(json: Json = False, series: Series = None) -> None:
    """List every tag: parameters, steps, tokens, cuts, RoPE schedule."""
    from flows.commands import recipes as command

    (command.list_recipes_json if json else command.list_recipes)()


@app.command("plan", epilog="Example: miniseries plan --all --gpu H200 --gpus 8 --price 2.5")
def plan_command(
    tags: Tags = None,
    every: All = False,
    json: Json = False,
    gpu: Annotated[
        str | None, typer.Option(help="The GPU to estimate for: a known one, or one that was calibrated.")
    ] = None,
    gpus: Annotated[int, typer.Option(min=1, help="How many of them at once.")] = 1,
    price: Annotated[float, typer.Option(min=0.0, help="Dollars an hour of one of them.")] = DOLLARS_PER_GPU_HOUR,
    series: Series = None,
) -> None:
    """Show each stage: cached, resumable or to run; tokens, FLOPs, GPU-hours, money, size, and what sharing saves."""
    from flows.commands import plan as command

    terms = Terms(gpus=gpus, dollars_per_gpu_hour=price)
    (command.show_plan_json if json else command.show_plan)(chosen(tags, every), gpu, terms)


@app.command("calibrate", epilog="Example: miniseries calibrate tiny_long")
def calibrate_command(
    tags: Tags = None,
    every: All = False,
    json: Json = False,
    steps: Annotated[int, typer.Option(min=1, help="Training steps to time, for each speed.")] = 10,
    series: Series = None,
) -> None:
    """Measure how fast this device trains, with a few steps, and keep it in the store: plans use it from then on."""
    from flows.commands import calibrate as command

    (command.calibrate_json if json else command.calibrate)(chosen(tags, every), steps)


@app.command("status", epilog="Example: miniseries status --all --html status.html")
def status_command(
    tags: Tags = None,
    every: All = False,
    json: Json = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page: plan drawn, loss curves, evaluations.")
    ] = None,
    series: Series = None,
) -> None:
    """Show what exists of each tag, and where."""
    from flows.commands import status as command

    named = list(recipes()) if not tags and not every else chosen(tags, every)
    if html is not None:
        command.write_status_page(named, html)
    else:
        (command.show_status_json if json else command.show_status)(named)


@app.command("show", epilog="Example: miniseries show tiny_drope_50 recalibrate")
def show_command(
    tag: Tag,
    stage: StageName,
    json: Json = False,
    series: Series = None,
) -> None:
    """Show one stage of a tag: identity, inputs, files with sha256, metrics."""
    from flows.commands import show as command

    (command.show_json if json else command.show)(tag, stage)


@app.command("why", epilog="Example: miniseries why tiny_drope_50 recalibrate")
def why_command(tag: Tag, stage: StageName, json: Json = False, series: Series = None) -> None:
    """Explain a stage's key: every field that makes it, where it comes from, who shares it."""
    from flows.commands import why as command

    (command.show_why_json if json else command.show_why)(tag, stage)


@app.command("diff", epilog="Example: miniseries diff tiny tiny_drope_50")
def diff_command(
    tag: Tag,
    other: Annotated[str | None, typer.Argument(help="Another tag; none: what the store holds of TAG.")] = None,
    against_series: Annotated[
        Path | None, typer.Option("--against-series", metavar="FILE", help="TAG as this earlier series file makes it.")
    ] = None,
    json: Json = False,
    series: Series = None,
) -> None:
    """Compare two tags, or two revisions of one: fields, keys, what would be trained again, at what price."""
    from flows.commands import diff as command

    if other is not None and against_series is not None:
        raise typer.BadParameter("compare with another tag or with an earlier series file, not with both")
    if other is not None:
        sides = command.two_tags(tag, other)
    elif against_series is not None:
        sides = command.against_series(tag, against_series)
    else:
        (command.show_revision_json if json else command.show_revision)(tag)
        return
    (command.show_difference_json if json else command.show_difference)(sides)


@app.command("data", epilog=DATA_EXAMPLES)
def data_command(
    tag: Tag,
    json: Json = False,
    file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A corpus file, e.g. shard_00000.parquet: how often each row was read."),
    ] = None,
    series: Series = None,
) -> None:
    """Show which files and rows a tag's models have read, and how many times."""
    from flows.commands import data as command

    if file is None:
        (command.show_ledger_json if json else command.show_ledger)(tag)
    else:
        (command.show_rows_json if json else command.show_rows)(tag, file)
