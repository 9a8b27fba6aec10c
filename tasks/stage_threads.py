"""Stages in threads of their own, supervised from the main thread, which alone hears a signal.

Guarantees: whatever is raised while this is open (a signal's exception above all) asks every stage to stop, and is
raised again once all have: each lets its child checkpoint, ends it and gives its lease back. A thread that is still
in a transfer when the grace is over is left behind; it ends with the process, and its lease with it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from types import TracebackType
from typing import Generic, TypeVar

from tasks.stopping import stopped_by

POLL_SECONDS = 0.2
RELEASE_SECONDS = 4.0  # after the grace: for killing, for giving back leases; together below Prefect's 30

ResultT = TypeVar("ResultT")


class StageThreads(Generic[ResultT]):
    """Start works by name, take their results as they end. A context manager, used by one thread."""

    def __init__(self, grace_seconds: float, watch: Callable[[], None] = lambda: None) -> None:
        """`watch` is called several times a second while an end is awaited; what it raises ends the wait."""
        self._seconds = grace_seconds + RELEASE_SECONDS
        self._watch = watch
        self._stop = threading.Event()
        self._ended: queue.SimpleQueue[tuple[str, ResultT | BaseException]] = queue.SimpleQueue()
        self._threads: dict[str, threading.Thread] = {}

    def __enter__(self) -> StageThreads[ResultT]:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop.set()
        deadline = time.monotonic() + self._seconds
        for thread in self._threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def start(self, name: str, work: Callable[[], ResultT]) -> None:
        """Run `work` in a thread that has a copy of this context, so that it belongs to the same flow run."""
        with stopped_by(self._stop):
            context = copy_context()

        def run() -> None:
            try:
                self._ended.put((name, context.run(work)))
            except BaseException as error:  # noqa: BLE001 -- raised again by `next_ended`, in the main thread
                self._ended.put((name, error))

        self._threads[name] = threading.Thread(target=run, name=f"miniseries-{name[:12]}", daemon=True)
        self._threads[name].start()

    def next_ended(self) -> tuple[str, ResultT]:
        """Wait for the next work to end and return its name and result; raise what it raised."""
        name, result = self._next()
        self._threads.pop(name).join()
        if isinstance(result, BaseException):
            raise result
        return name, result

    def _next(self) -> tuple[str, ResultT | BaseException]:
        """In short waits: a signal that the kernel gave to another thread does not end a wait of this one."""
        while True:
            try:
                return self._ended.get(timeout=POLL_SECONDS)
            except queue.Empty:
                self._watch()
