"""How a state looks to people: one word, one symbol, one name for its colour. Never a colour alone."""

from __future__ import annotations

from dataclasses import dataclass

from core.planning.progress import Progress
from core.planning.title import title


@dataclass(frozen=True)
class Appearance:
    """`name` is what a style sheet calls it."""

    name: str
    symbol: str
    word: str


CACHED = Appearance("cached", "✓", "cached")
RUNNING = Appearance("running", "▶", "running")
RESUMABLE = Appearance("resumable", "◐", "resumable")
BLOCKED = Appearance("blocked", "‖", "blocked")
DAMAGED = Appearance("damaged", "!", "damaged")
PENDING = Appearance("pending", "○", "to run")
UNNEEDED = Appearance("unneeded", "–", "not needed")
APPEARANCES = (CACHED, RUNNING, RESUMABLE, BLOCKED, DAMAGED, PENDING, UNNEEDED)

_OF_STATE = {
    "cached": CACHED,
    "running": RUNNING,
    "resumable": RESUMABLE,
    "blocked": BLOCKED,
    "pending": PENDING,
}


def appearance(progress: Progress) -> Appearance:
    """What is damaged looks so until somebody is making it again."""
    if progress.damaged and progress.state != "running":
        return DAMAGED
    if progress.state == "pending" and not progress.needed:
        return UNNEEDED
    return _OF_STATE[progress.state]


def detail(progress: Progress) -> str:
    """What more there is to say beside the word: who runs it, since when, from which step, what it waits for."""
    if progress.state == "blocked" and progress.blocked_by is not None:
        return f"by {title(progress.blocked_by)}"
    return "(will be made again)" if appearance(progress) is DAMAGED else progress.detail
