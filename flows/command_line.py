"""The command line: `miniseries VERB`. Every listing has `--json`; errors are one line and a non-zero exit.

Exit codes: 0 done, 1 failed (the line says what to do), 2 wrong usage, 128 + n stopped by signal n.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from artifacts.errors import StoreError
from core.recipes.recipe import RecipeError
from core.recipes.table import recipes
from flows.console import print_error
from flows.stopping import Stopped

app = typer.Typer(
    help="Train a family of small language models: one tag in, a trained, evaluated and published model out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Tag = Annotated[
    str, typer.Argument(help="A tag, e.g. tiny_drope_50_long or d20-40tpp; `miniseries recipes` lists them.")
]
Tags = Annotated[list[str] | None, typer.Argument(help="Tags; none with --all.")]
All = Annotated[bool, typer.Option("--all", help="The 20 models of the miniseries.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command("recipes", epilog="Example: miniseries recipes --json")
def recipes_command(json: Json = False) -> None:
    """List every tag: parameters, steps, tokens, cuts, RoPE schedule."""
    from flows.commands import recipes as command

    (command.list_recipes_json if json else command.list_recipes)()


@app.command("plan", epilog="Example: miniseries plan d20_40tpp_drope_50 d20_40tpp")
def plan_command(tags: Tags = None, every: All = False, json: Json = False) -> None:
    """Show each stage: cached, resumable or to run; tokens, GPU-hours, and what sharing saves."""
    from flows.commands import plan as command

    (command.show_plan_json if json else command.show_plan)(_chosen(tags, every))


@app.command("run", epilog="Example: miniseries run tiny_drope_50_long")
def run_command(tag: Tag, json: Json = False) -> None:
    """Run the pipeline of a tag here and now; stages that exist are not made again."""
    from flows.commands import run as command

    (command.run_json if json else command.run)(tag)


@app.command("status", epilog="Example: miniseries status tiny")
def status_command(tags: Tags = None, every: All = False, json: Json = False) -> None:
    """Show what exists of each tag, and where."""
    from flows.commands import plan as command

    chosen = list(recipes()) if not tags and not every else _chosen(tags, every)
    (command.show_status_json if json else command.show_status)(chosen)


@app.command("show", epilog="Example: miniseries show tiny_drope_50 recalibrate")
def show_command(
    tag: Tag,
    stage: Annotated[str, typer.Argument(help="A stage kind, or the beginning of a key.")],
    json: Json = False,
) -> None:
    """Show one stage of a tag: identity, inputs, files with sha256, metrics."""
    from flows.commands import show as command

    (command.show_json if json else command.show)(tag, stage)


@app.command("verify", epilog="Example: miniseries verify tiny")
def verify_command(tags: Tags = None, json: Json = False) -> None:
    """Read every committed byte again; list what is damaged and exit with 1 if anything is."""
    from flows.commands import verify as command

    damaged = (command.verify_json if json else command.verify)(tags or [])
    raise typer.Exit(1 if damaged else 0)


def _chosen(tags: list[str] | None, every: bool) -> list[str]:
    if every:
        return [tag for tag, recipe in recipes().items() if tag.startswith("d") and recipe.finetuning is not None]
    if not tags:
        raise typer.BadParameter("name at least one tag, or --all for the 20 models of the miniseries")
    return tags


def guarded(command: Callable[[], None]) -> int:
    """Run `command`; turn what its user can act on into one line on standard error; return the exit code."""
    from tasks.perform import StageFailed

    try:
        command()
    except (StoreError, RecipeError, StageFailed) as error:
        print_error(str(error))
        return 1
    except Stopped as stop:
        print_error(f"stopped by {stop}; what was checkpointed is kept, the same command continues from there")
        return stop.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # of this machine's own disk: no room, no permission
        print_error(
            f"{error.strerror or error}: {error.filename or 'no file named'}; free or correct it, then run again"
        )
        return 1
    return 0


def main() -> None:
    """Entry point of the `miniseries` script."""
    try:
        sys.exit(guarded(app))
    finally:
        sys.stdout.flush()


if __name__ == "__main__":
    main()
