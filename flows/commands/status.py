"""`miniseries status`: what exists of each tag, as a table, as JSON, or as an HTML page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from artifacts.errors import ArtifactDamaged
from artifacts.store import Store
from artifacts.transfer import at_once
from core.planning.appearance import appearance, detail
from core.planning.listing import status_listing
from core.planning.plan import PlannedStage
from core.planning.results import read_results
from core.planning.status import TagStatus, read_status
from core.planning.status_page import render_status_page
from core.planning.title import title
from flows.console import console, listing, print_json
from tasks.settings import settings_from_environment


def show_status_json(tags: Sequence[str]) -> None:
    """Print the contract listing."""
    store = settings_from_environment().open_store()
    status = read_status(tags, store)
    cached = [planned for planned in status.plan.stages if planned.progress.state == "cached"]
    found = at_once(lambda planned: _path(planned, store), cached)
    paths = {planned.stage.key: path for planned, path in zip(cached, found, strict=True)}
    print_json(status_listing(status, lambda planned: paths.get(planned.stage.key)))


def show_status(tags: Sequence[str]) -> None:
    """Print a table for people."""
    store = settings_from_environment().open_store()
    table = listing("tag", "stages>", "cached>", "GPU-hours to do>", "next")
    for tag in read_status(tags, store).tags:
        hours = f"{tag.remaining.gpu_hours:,.2f}" if tag.lacking else ""
        table.add_row(tag.tag, str(len(tag.stages)), str(tag.cached), hours, _next(tag))
    console().print(table)
    console().print(f"\nstore: {store.url}")


def write_status_page(tags: Sequence[str], file: Path) -> None:
    """Write the page to `file` and say so."""
    store = settings_from_environment().open_store()
    status = read_status(tags, store)
    file.write_text(render_status_page(status, read_results(status.plan, store), time.time()), encoding="utf-8")
    console().print(f"{len(status.tags)} tags, {len(status.plan.stages)} stages: {file.absolute()}", soft_wrap=True)


def _next(tag: TagStatus) -> str:
    if not tag.lacking:
        return "complete"
    following = tag.lacking[0]
    state = f"{appearance(following.progress).word} {detail(following.progress)}".rstrip()
    return f"{title(following.stage)} ({state})"


def _path(planned: PlannedStage, store: Store) -> str | None:
    """None for what turns out to be unreadable: a listing goes on to the next."""
    try:
        return store.path_of(planned.stage.address)
    except ArtifactDamaged:
        return None
