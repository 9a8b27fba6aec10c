"""When a heavy stage is due among those that wait for a GPU: who orders stages says it, who queues them asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_due: ContextVar[datetime | None] = ContextVar("miniseries-turn", default=None)


def turn() -> datetime:
    """When the stage of this context is due: whatever is due earlier goes first. Now, where nothing was arranged."""
    return _due.get() or datetime.now(UTC)


@contextmanager
def due(at: datetime) -> Iterator[None]:
    """Stages that are brought about inside the `with`, in this context and its copies, are due `at`."""
    token = _due.set(at)
    try:
        yield
    finally:
        _due.reset(token)
