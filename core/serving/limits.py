"""What one server takes on: beyond it, a request is refused at once and told why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of each server (bytes, seconds) and of each of its models (slots, waiting, tokens)."""

    request_bytes: int = 1 << 20  # of one body; larger ones are 413
    slots: int = 8  # answers under way at once
    waiting: int = 64  # requests that wait for a slot; one more is 429
    answer_tokens: int = 2048  # of one answer; the context may leave less
    answer_seconds: float = 300.0  # from the request to the end of its answer, waiting included
    grace_seconds: float = 10.0  # that answers under way have to end when the server stops

    @property
    def retry_after_seconds(self) -> int:
        """What a refused client is told to wait."""
        return 1
