"""Looking after an installation: `up`, `down`."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.usage.options import Json

app = typer.Typer()

UP_EXAMPLES = """Examples:

\b
  miniseries up
  miniseries up --gpu-slots 2 --port 4300
  miniseries up --database postgresql+asyncpg://user@host:5432/prefect"""


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
    json: Json = False,
) -> None:
    """Start what runs deployments here: a Prefect server, work pools, a worker of each; again: repair what died."""
    from flows.commands import up as command

    wanted = command.Wanted(port=port, gpu_slots=gpu_slots, database=database)
    (command.up_json if json else command.up)(wanted)


@app.command("down", epilog="Example: miniseries down --yes")
def down_command(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before runs under way are stopped.")] = False,
    json: Json = False,
) -> None:
    """Stop what `miniseries up` started, and only that; runs under way checkpoint first and go on later."""
    from flows.commands import down as command

    (command.down_json if json else command.down)(yes=yes)
