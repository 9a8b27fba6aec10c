"""`miniseries up`: what runs deployments on this machine, and how to use it."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

from flows.console import print_json
from flows.local.dismantling import take_down
from flows.local.folder import at_work_alone, installation_folder
from flows.local.installation import Installation, Say, Wanted, bring_up, watch
from flows.local.pools import PROCESS
from flows.prefect_environment import prefer_defaults
from flows.stopping import Stopped, stop_once
from tasks.settings import settings_from_environment


def up(wanted: Wanted) -> None:
    """Start what is missing, telling how far it is, and say where the user interface is and what to do next."""
    installation = _bring_up(wanted, partial(print, flush=True))
    print("\n".join([*_state(installation), "", f"  {installation.ui_url}", "", *_next(installation)]))


def up_json(wanted: Wanted) -> None:
    """The same as JSON; progress goes to standard error."""
    print_json(_listing(_bring_up(wanted, partial(print, file=sys.stderr, flush=True))))


def up_in_foreground(wanted: Wanted) -> None:
    """The same for a container or a service: stay, and when asked to stop, take down what was brought up.

    Raises `InstallationError` when the server or a worker ends, after the rest was taken down.
    """
    say: Say = partial(print, flush=True)
    with stop_once():
        installation = _bring_up(wanted, say)
        folder = installation_folder()
        try:
            say("\n".join([*_state(installation), installation.ui_url]))
            watch(folder, installation.record)
        except Stopped as stop:
            say(f"{stop}: flow runs checkpoint and go back to the queue")
        finally:
            with at_work_alone(folder):
                take_down(folder, say)


def _bring_up(wanted: Wanted, say: Say) -> Installation:
    prefer_defaults()
    store = settings_from_environment().open_store()
    folder = installation_folder()
    with stop_once(), at_work_alone(folder):
        return bring_up(folder, wanted, store.url, say)


def _state(installation: Installation) -> list[str]:
    """What is up, and what of it a person may not expect."""
    pools = ", ".join(f"{pool.name} ({pool.slots} at once)" if pool.slots else pool.name for pool in installation.pools)
    lines = [f"pools: {pools}; deployments: {installation.deployments}; automations: {len(installation.automations)}"]
    with_workers = {worker.pool for worker in installation.workers}
    lines += [
        f"pool {pool.name}: its type is {pool.type}, so its worker is elsewhere"
        for pool in installation.pools
        if pool.name not in with_workers and pool.type != PROCESS
    ]
    if installation.has_other_settings:
        lines.append(
            "settings: those of this shell (MINISERIES_*) are not those that the workers were started with; "
            "`miniseries down`, then `miniseries up` applies them"
        )
    if not installation.started:
        lines.append("everything was up already")
    return lines


def _next(installation: Installation) -> list[str]:
    """What to type."""
    lines = [f"run:   {_prefect()} deployment run pipeline/tiny --watch", "stop:  miniseries down"]
    if not installation.is_named:
        lines.insert(0, f"first: export PREFECT_API_URL={installation.record.api_url}   (PREFECT_PROFILE is set here)")
    return lines


def _prefect() -> str:
    """Prefect's command as this shell has to spell it."""
    ours = Path(sys.executable).parent / "prefect"
    found = shutil.which("prefect")
    return "prefect" if found and Path(found).resolve() == ours.resolve() else str(ours)


def _listing(installation: Installation) -> dict[str, Any]:
    record = installation.record
    return {
        "ui": installation.ui_url,
        "api": record.api_url,
        "server": record.server and {"pid": record.server.pid, "database": record.database},
        "profile": record.profile and record.profile.path,
        "is_named": installation.is_named,
        "pools": [{"name": pool.name, "type": pool.type, "slots": pool.slots} for pool in installation.pools],
        "workers": [
            {"name": worker.name, "pool": worker.pool, "pid": record.workers[worker.name].pid}
            for worker in installation.workers
        ],
        "started": installation.started,
        "deployments": installation.deployments,
        "automations": installation.automations,
        "has_other_settings": installation.has_other_settings,
    }
