"""The command line: `miniseries VERB`. Every listing has `--json`; errors are one line and a non-zero exit.

The commands and their options are declared in `flows/usage`, what they do is in `flows/commands`.
Exit codes: 0 done, 1 failed (the line says what to do), 2 wrong usage, 128 + n stopped by signal n.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import typer

from artifacts.errors import StoreError
from core.recipes.recipe import RecipeError
from core.stages.context import StageError
from flows.console import print_error
from flows.stopping import Stopped
from flows.usage import making, operating, planning, talking

app = typer.Typer(
    help="Train a family of small language models: one tag in, a trained, evaluated and published model out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for group in (planning, making, talking, operating):
    app.add_typer(group.app)


def guarded(command: Callable[[], None]) -> int:
    """Run `command`; turn what its user can act on into one line on standard error; return the exit code."""
    from tasks.perform import StageFailed

    try:
        command()
    except (StoreError, RecipeError, StageError, StageFailed) as error:
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
