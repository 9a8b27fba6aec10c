"""Looking after an installation: `up`, `down`, `gc`, `maintenance`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from flows.series_option import Series
from flows.usage.options import Json

app = typer.Typer()

UP_EXAMPLES = """Examples:

\b
  miniseries up
  miniseries up --gpu-slots 2 --port 4300
  miniseries up --database postgresql+asyncpg://user@host:5432/prefect"""

GC_EXAMPLES = """Examples:

\b
  miniseries gc --dry-run
  miniseries gc --dry-run --series study.yaml
  miniseries gc --undo"""


@app.command("up", epilog=UP_EXAMPLES)
def up_command(
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Of the server; default: 4200, or the next one that is free."),
    ] = None,
    gpu_slots: Annotated[int, typer.Option(min=1, help="Heavy stages at once on the pool h100.")] = 1,
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="PostgreSQL for the server, postgresql+asyncpg://...; default: PREFECT_API_DATABASE_CONNECTION_URL, "
            "else SQLite.",
        ),
    ] = None,
    pool: Annotated[
        Literal["cpu", "h100"] | None, typer.Option(help="Only the workers of this pool; default: of both.")
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay, and stop it all when stopped: for containers and services.")
    ] = False,
    json: Json = False,
) -> None:
    """Start what runs deployments here: a Prefect server, work pools, a worker of each; again: repair what died."""
    from flows.commands import up as command
    from flows.local.installation import Wanted

    if foreground and json:
        raise typer.BadParameter("--foreground ends with nothing to print: leave --json out")
    wanted = Wanted(port=port, gpu_slots=gpu_slots, database=database, pools=(pool,) if pool else ("cpu", "h100"))
    (command.up_in_foreground if foreground else command.up_json if json else command.up)(wanted)


@app.command("down", epilog="Example: miniseries down --yes")
def down_command(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before runs under way are stopped.")] = False,
    json: Json = False,
) -> None:
    """Stop what `miniseries up` started, and only that; runs under way checkpoint first and go on later."""
    from flows.commands import down as command

    (command.down_json if json else command.down)(yes=yes)


@app.command("gc", epilog=GC_EXAMPLES)
def gc_command(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List only; change nothing.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take back all marks of earlier calls.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    window_days: Annotated[
        float, typer.Option(min=0.0, help="What is marked stays as it is so long; a later call deletes it.")
    ] = 7.0,
    log_days: Annotated[float, typer.Option(min=0.0, help="How long stage logs on this machine are kept.")] = 30.0,
    json: Json = False,
    series: Series = None,
) -> None:
    """List what no recipe, publication, adopted model or run reaches; mark it; delete it after an undo window."""
    from flows.commands import gc as command

    if undo and (dry_run or yes):
        raise typer.BadParameter("--undo goes with neither --dry-run nor --yes")
    wanted = command.Wanted(window_days=window_days, log_days=log_days)
    if undo:
        (command.undo_json if json else command.undo)()
    elif dry_run:
        (command.show_garbage_json if json else command.show_garbage)(wanted)
    else:
        (command.collect_garbage_json if json else command.collect_garbage)(wanted, yes=yes)


@app.command("maintenance", epilog="Example: miniseries maintenance --verify-gb 10 --recompute-minutes 5")
def maintenance_command(
    verify_gb: Annotated[float, typer.Option(min=0.001, help="How much of the store is read, in turn.")] = 50.0,
    recompute_minutes: Annotated[
        float, typer.Option(min=0.0, help="A training stage that took at most so long is made again, and compared.")
    ] = 10.0,
    seed: Annotated[int | None, typer.Option(help="Of its choice; none: the day's.")] = None,
    window_days: Annotated[float, typer.Option(min=0.0, help="With --collect: the undo window of `gc`.")] = 7.0,
    collect: Annotated[bool, typer.Option("--collect", help="Delete what `gc` marked longer ago than that.")] = False,
    json: Json = False,
    series: Series = None,
) -> None:
    """Do what is done every night: verify a share of the store, make a small stage again, say what is garbage."""
    from flows.commands import maintenance as command

    wanted = command.Wanted(
        verify_gb=verify_gb,
        recompute_minutes=recompute_minutes,
        seed=seed,
        window_days=window_days,
        collect=collect,
    )
    (command.maintain_json if json else command.maintain)(wanted)
