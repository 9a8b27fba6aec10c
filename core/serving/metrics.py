"""What the server counts, in a registry of its own: `GET /metrics` in Prometheus' text format.

Numbers of answers under way and waiting are read from the engines when asked for, so they cannot drift.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from core.serving.engine_thread import EngineThread

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]


class Metrics:
    """Every metric of one server."""

    def __init__(self, threads: Iterable[EngineThread]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.responses = Counter(
            "miniseries_http_responses", "Responses begun.", ["route", "status"], registry=self._registry
        )
        self.ends = Counter(
            "miniseries_answers", "Answers that ended, by why they did.", ["model", "reason"], registry=self._registry
        )
        self.prompt_tokens = self._tokens("prompt", "Tokens read.")
        self.answer_tokens = self._tokens("answer", "Tokens written, those of the calculator included.")
        self.first_token_seconds = self._seconds("first_token", "From the request to the first token of its answer.")
        self.answer_seconds = self._seconds("answer", "From the request to the end of its answer.")
        active = Gauge("miniseries_answers_active", "Answers in a slot.", ["model"], registry=self._registry)
        waiting = Gauge("miniseries_answers_waiting", "Requests in line.", ["model"], registry=self._registry)
        slots = Gauge("miniseries_slots", "Answers that can be under way at once.", ["model"], registry=self._registry)
        for thread in threads:
            active.labels(thread.name).set_function(partial(_active, thread))
            waiting.labels(thread.name).set_function(partial(_waiting, thread))
            slots.labels(thread.name).set(thread.slots)

    def text(self) -> bytes:
        """All of them, as of now."""
        return generate_latest(self._registry)

    def _tokens(self, of: str, description: str) -> Counter:
        return Counter(f"miniseries_{of}_tokens", description, ["model"], registry=self._registry)

    def _seconds(self, of: str, description: str) -> Histogram:
        return Histogram(f"miniseries_{of}_seconds", description, ["model"], buckets=SECONDS, registry=self._registry)


def _active(thread: EngineThread) -> float:
    return thread.active


def _waiting(thread: EngineThread) -> float:
    return thread.waiting
