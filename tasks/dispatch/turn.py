"""When a heavy stage is due among those that wait for a GPU: who orders stages says it, who queues them asks."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TypeVar

ResultT = TypeVar("ResultT")

_due: ContextVar[datetime | None] = ContextVar("miniseries-turn", default=None)


def turn() -> datetime:
    """When the stage of this context is due: whatever is due earlier goes first. Now, where nothing was arranged."""
    return _due.get() or datetime.now(UTC)


def in_turn(due: datetime, work: Callable[[], ResultT]) -> ResultT:
    """Do `work`; the stages that it brings about are due at `due`."""
    token = _due.set(due)
    try:
        return work()
    finally:
        _due.reset(token)
