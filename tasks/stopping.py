"""How stages in threads are asked to stop: only the main thread hears a signal, so it sets an event for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_asked: ContextVar[threading.Event | None] = ContextVar("miniseries-stop", default=None)


def stop_event() -> threading.Event:
    """The event that asks the stage of this context to stop; one that nobody sets where nothing was arranged."""
    return _asked.get() or threading.Event()


@contextmanager
def stopped_by(event: threading.Event) -> Iterator[None]:
    """Stages performed inside the `with`, in this context and its copies, stop once `event` is set."""
    token = _asked.set(event)
    try:
        yield
    finally:
        _asked.reset(token)
