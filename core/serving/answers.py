"""An answer as the event loop sees it: its pieces as they come, why it ended, what it cost.

Who begins an answer closes it: that gives its slot back at once if it is still being written, and counts it, once.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

from core.inference.engine import Request
from core.posttraining.conversation import Part
from core.serving.engine_thread import Ended, EngineStopped, EngineThread, Event, TooBusy
from core.serving.errors import ApiError
from core.serving.limits import Limits
from core.serving.metrics import Metrics
from core.serving.stop_strings import StopStrings

FinishReason = Literal["stop", "length"]
Outcome = Literal["stop", "length", "timeout", "hung up", "cancelled", "failed"]


@dataclass(frozen=True)
class Usage:
    """What an answer cost, in tokens."""

    prompt: int
    answer: int

    def to_json(self) -> dict[str, int]:
        """OpenAI's names."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.answer,
            "total_tokens": self.prompt + self.answer,
        }


class Answer:
    """One answer, from the place in line to the end. Raises `ApiError` when there is no place or no engine."""

    def __init__(
        self, thread: EngineThread, request: Request, pieces: StopStrings, limits: Limits, metrics: Metrics
    ) -> None:
        self._thread, self._request, self._pieces, self._metrics = thread, request, pieces, metrics
        self._loop = asyncio.get_running_loop()
        self._began = time.monotonic()
        self._deadline = self._loop.time() + limits.answer_seconds
        self._events: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._written = 0
        self._outcome: Outcome = "hung up"
        self._is_closed = False
        try:
            self._ticket = thread.submit(request, self._deliver)
        except TooBusy as error:
            retry = {"Retry-After": str(limits.retry_after_seconds)}
            raise ApiError(429, f"{error}; try again", code="server_busy", headers=retry) from None
        except EngineStopped as error:
            raise ApiError(503, str(error), code="engine_stopped") from None

    @property
    def usage(self) -> Usage:
        """What it cost so far."""
        return Usage(len(self._request.prompt), self._written)

    @property
    def finish_reason(self) -> FinishReason:
        """Why it ended, in OpenAI's words: by itself, or cut off (by its limit, the clock, or the server's stop)."""
        return "stop" if self._outcome == "stop" else "length"

    async def begun(self) -> None:
        """Wait until it has a token or an end. Raises `ApiError` when it will have neither."""
        if not await self._something_arrived():
            self._outcome = "timeout"
            raise ApiError(503, "no slot became free in time; try again later", code="timeout")
        match self._events[0]:
            case Ended("cancelled"):
                self._outcome = "cancelled"
                raise ApiError(503, "the server is stopping", code="engine_stopped")
            case Ended("failed"):
                raise self._failure()
        self._metrics.first_token_seconds.labels(self._thread.name).observe(time.monotonic() - self._began)

    async def pieces(self) -> AsyncIterator[Part]:
        """Its text, in pieces of whole characters. Raises `ApiError` when the engine fails."""
        while await self._something_arrived():
            event = self._events.popleft()
            if isinstance(event, Ended):
                self._outcome = event.reason
                break
            self._written += 1
            for piece in self._pieces.push(event):
                yield piece
            if self._pieces.is_met:
                self._outcome = "stop"
                return
        else:
            self._outcome = "timeout"
        if self._outcome == "failed":
            raise self._failure()
        for piece in self._pieces.finish():
            yield piece

    def close(self) -> None:
        """Give back what it still holds."""
        if self._is_closed:
            return
        self._is_closed = True
        self._thread.cancel(self._ticket)
        name = self._thread.name
        self._metrics.ends.labels(name, self._outcome).inc()
        self._metrics.prompt_tokens.labels(name).inc(self.usage.prompt)
        self._metrics.answer_tokens.labels(name).inc(self.usage.answer)
        self._metrics.answer_seconds.labels(name).observe(time.monotonic() - self._began)

    def _deliver(self, event: Event) -> None:
        """Called in the engine's thread."""
        self._loop.call_soon_threadsafe(self._take, event)

    def _take(self, event: Event) -> None:
        self._events.append(event)
        self._arrived.set()

    async def _something_arrived(self) -> bool:
        """Wait for an event; False when its time is over."""
        try:
            async with asyncio.timeout_at(self._deadline):
                while not self._events:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return False
        return True

    def _failure(self) -> ApiError:
        self._outcome = "failed"
        return ApiError(500, "the engine failed; the server's log says why", code="engine_failed")
