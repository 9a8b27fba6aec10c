"""`miniseries down`: stop what `miniseries up` started, and tell what that was."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import typer

from flows.console import print_json
from flows.local.dismantling import Stopped, runs_under_way, take_down
from flows.local.folder import InstallationError, at_work_alone, installation_folder
from flows.prefect_environment import prefer_defaults
from flows.stopping import stop_once

NOTHING = "nothing is up: `miniseries up` starts a server and workers"


def down(*, yes: bool) -> None:
    """Stop it, telling what. Raises `InstallationError` when runs are under way and nobody agrees to stop them."""
    stopped = _take_down(yes, partial(print, flush=True))
    print(NOTHING if stopped is None else "\n".join(_lines(stopped)))


def down_json(*, yes: bool) -> None:
    """The same as JSON: what was stopped, or null for nothing; progress goes to standard error."""
    stopped = _take_down(yes, partial(print, file=sys.stderr, flush=True))
    print_json(None if stopped is None else asdict(stopped))


def _take_down(yes: bool, say: Callable[[str], None]) -> Stopped | None:
    prefer_defaults()
    folder = installation_folder()
    with at_work_alone(folder):
        if not yes and (names := runs_under_way(folder)):
            _require_agreement(names)
        with stop_once():
            return take_down(folder, say)


def _require_agreement(names: list[str]) -> None:
    runs = f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} under way"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InstallationError(
            f"{runs}; `miniseries down --yes` has that checkpoint and stop, and the next `miniseries up` continues it"
        )
    typer.confirm(f"{runs}. Checkpoint and stop? The next `miniseries up` continues.", abort=True, err=True)


def _lines(stopped: Stopped) -> list[str]:
    parts = [
        f"flow runs: {len(stopped.flow_runs)} (the next `miniseries up` continues)" if stopped.flow_runs else "",
        f"workers: {len(stopped.workers)}" if stopped.workers else "",
        "the server" if stopped.servers else "",
        f"other processes: {stopped.others}" if stopped.others else "",
    ]
    lines = [f"stopped: {'; '.join(filter(None, parts)) or 'nothing was running any more'}"]
    if stopped.profile:
        lines.append(f"put back: {stopped.profile}")
    return lines
