"""`miniseries republish`: audit what is published, re-render its cards, and correct what differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.recipes.table import find_recipe
from core.stages.context import StageError
from flows.console import console, listing, print_json
from flows.prefect_environment import prefect_for_this_run
from flows.stopping import stop_once


def republish(tags: Sequence[str], *, dry_run: bool) -> None:
    """Show one line a repository; raises `StageError` when a tag could not be looked at, after the rest was shown."""
    ended = _republish(tags, dry_run)
    table = listing("repository", "version>", "files>", "audit", "changed", "removed", "state")
    for one in ended:
        for found in one["repositories"]:
            findings = ", ".join(f"{finding['path']} {finding['problem']}" for finding in found["findings"])
            names = (findings, " ".join(found["changed"]), " ".join(found["removed"]))
            table.add_row(found["repository"], f"v{found['version']}", str(found["files"]), *names, _state(found))
    console().print(table)
    _require_looked_at(ended)


def republish_json(tags: Sequence[str], *, dry_run: bool) -> None:
    """The same as a JSON list of {tag, repositories, error}."""
    ended = _republish(tags, dry_run)
    print_json(ended)
    _require_looked_at(ended)


def _republish(tags: Sequence[str], dry_run: bool) -> list[dict[str, Any]]:
    chosen = [find_recipe(tag).tag for tag in tags]
    with prefect_for_this_run(), stop_once():
        from flows.republish import republish as republish_flow

        state = republish_flow(chosen or None, dry_run, return_state=True)
        data: Any = state.result(raise_on_failure=False)
    if isinstance(data, BaseException):
        raise data
    ended: list[dict[str, Any]] = data
    return ended


def _state(found: dict[str, Any]) -> str:
    if found["corrected"]:
        return "corrected"
    differs = not found["version"] or any(found[what] for what in ("changed", "removed"))
    return "differs" if differs else "current"


def _require_looked_at(ended: Sequence[dict[str, Any]]) -> None:
    errors = [f"{one['tag']}: {one['error']}" for one in ended if one["error"]]
    if errors:
        raise StageError("; ".join(errors))
