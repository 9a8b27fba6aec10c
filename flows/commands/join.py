"""`miniseries join`: this machine's part in the heavy stages that another one launches."""

from __future__ import annotations

from pathlib import Path

from flows.commands.run import display_on
from flows.console import console
from flows.stopping import stop_once
from tasks.join import join_launches, meeting_folder
from tasks.settings import settings_from_environment


def join(folder: Path | None) -> None:
    """Join every launch posted in `folder`, or where this machine's settings say, until a signal ends it."""
    settings = settings_from_environment()
    display = display_on(console())
    with stop_once():
        join_launches(folder or meeting_folder(settings.machines), settings.grace_seconds, display.say)
