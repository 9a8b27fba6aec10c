"""One engine and the thread that owns it: the rest of the server hands it requests and gets told what comes of them.

Guarantees: the engine works in its thread only; every request that was accepted is told its end exactly once,
after its slot is free again; a cancelled one within one step of the engine. What waits does so in the order it came.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from core.inference.engine import End, Engine, Request, Token

log = logging.getLogger("miniseries.serving")

EndReason = Literal["stop", "length", "cancelled", "failed"]


@dataclass(frozen=True)
class Ended:
    """An answer's last event."""

    reason: EndReason


Event = int | Ended  # a token's id, or the end
Deliver = Callable[[Event], None]  # called in the engine's thread; must not block


class TooBusy(Exception):
    """All slots are taken and the line is full."""


class EngineStopped(Exception):
    """The engine failed or was stopped; it takes no more requests."""


@dataclass(eq=False)
class Ticket:
    """A request from acceptance to end; `number` is the engine's once it has a slot."""

    request: Request
    deliver: Deliver
    number: int | None = None


class EngineThread:
    """Serves `slots` requests at once and keeps up to `waiting_limit` in line."""

    def __init__(self, name: str, engine: Engine, *, waiting_limit: int) -> None:
        self.name = name
        self.slots = engine.free_slots
        self._engine = engine
        self._waiting_limit = waiting_limit
        self._changed = threading.Condition()  # guards all that follows
        self._line: deque[Ticket] = deque()
        self._active: dict[int, Ticket] = {}
        self._cancelled: list[Ticket] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name=f"engine-{name}", daemon=True)

    @property
    def active(self) -> int:
        """How many requests have a slot."""
        return len(self._active)

    @property
    def waiting(self) -> int:
        """How many requests are in line."""
        return len(self._line)

    @property
    def is_alive(self) -> bool:
        """Whether it takes requests."""
        return self._thread.is_alive() and not self._stopping

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def submit(self, request: Request, deliver: Deliver) -> Ticket:
        """Accept a request, or raise `TooBusy`, `EngineStopped`, or what `Engine.check` finds wrong with it."""
        self._engine.check(request)  # reads only what never changes, so any thread may ask
        with self._changed:
            if not self.is_alive:
                raise EngineStopped(f"{self.name} is not served any more")
            if len(self._active) + len(self._line) >= self.slots + self._waiting_limit:
                raise TooBusy(f"{self.name} has {self.slots} answers under way and {self._waiting_limit} waiting")
            ticket = Ticket(request, deliver)
            self._line.append(ticket)
            self._changed.notify()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """End a request early; one that has ended stays as it is."""
        with self._changed:
            self._cancelled.append(ticket)
            self._changed.notify()

    def stop(self) -> None:
        """End every request as cancelled, and the thread; return when both are done."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _serve(self) -> None:
        try:
            while self._wait_for_work():
                for event in self._engine.step():
                    self._tell(event)
        except Exception:
            log.exception("the engine of %s failed; it takes no more requests", self.name)
            self._end_all("failed")
        else:
            self._end_all("cancelled")

    def _wait_for_work(self) -> bool:
        """Sleep while there is nothing to do; bring slots up to date. False: stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._active or self._line or self._cancelled or self._stopping)
            if self._stopping:
                return False
            for ticket in self._cancelled:
                self._withdraw(ticket)
            self._cancelled.clear()
            while self._line and self._engine.free_slots:
                ticket = self._line[0]  # in line until it has its number: whatever fails, it is told
                ticket.number = self._engine.add(ticket.request)
                self._active[ticket.number] = self._line.popleft()
        return True

    def _withdraw(self, ticket: Ticket) -> None:
        if ticket.number is not None and self._active.pop(ticket.number, None) is not None:
            self._engine.cancel(ticket.number)
        elif ticket in self._line:
            self._line.remove(ticket)
        else:
            return
        ticket.deliver(Ended("cancelled"))

    def _tell(self, event: Token | End) -> None:
        """Pass an event on; of a request that was cancelled there is nobody to tell."""
        if isinstance(event, Token):
            if (ticket := self._active.get(event.request)) is not None:
                ticket.deliver(event.token)
            return
        with self._changed:
            ticket = self._active.pop(event.request, None)
        if ticket is not None:
            ticket.deliver(Ended(event.reason))

    def _end_all(self, reason: EndReason) -> None:
        with self._changed:
            self._stopping = True
            left = [*self._active.values(), *self._line]
            self._active.clear()
            self._line.clear()
            self._cancelled.clear()
        for ticket in left:
            ticket.deliver(Ended(reason))
