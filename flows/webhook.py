"""Where people are told how runs ended: MINISERIES_WEBHOOK, a URL that may be a secret by itself, as Slack's are.

Guarantees: neither an error nor a log line holds more of the URL than its host; a webhook that is away costs a few
seconds and a `WebhookError`, nothing else.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx2

from tasks.settings import SettingsError

VARIABLE = "MINISERIES_WEBHOOK"
PATIENT = (0.0, 1.0)  # seconds before each try
HURRIED = (0.0,)  # for a run that is being stopped: what stops it waits 30 s in all
REQUEST_SECONDS = 5.0


class WebhookError(Exception):
    """The message was not delivered: one line, which names the host."""


@dataclass(frozen=True)
class Webhook:
    """An address to which JSON is posted."""

    url: str = field(repr=False)

    @property
    def host(self) -> str:
        """All of the address that may be shown."""
        return urlsplit(self.url).hostname or ""

    def post(self, message: Mapping[str, object], pauses: Sequence[float] = PATIENT) -> None:
        """Deliver `message`, trying again after each of `pauses`; raises `WebhookError`."""
        problem = ""
        for pause in pauses:
            time.sleep(pause)
            problem = self._try(message)
            if not problem:
                return
        raise WebhookError(f"the webhook at {self.host} was not told how the run ended: {problem}")

    def _try(self, message: Mapping[str, object]) -> str:
        """What went wrong, in words that hold nothing of the URL; "" when it was delivered."""
        try:
            with _unlogged():
                answer = httpx2.post(self.url, json=dict(message), timeout=REQUEST_SECONDS)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            return type(error).__name__
        return "" if answer.is_success else f"it answered {answer.status_code}"


def webhook_from_environment() -> Webhook | None:
    """None when no webhook is set; raises `SettingsError` for one that is no web address, without quoting it."""
    url = os.environ.get(VARIABLE, "")
    if not url:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:
        usable = False
    if not usable or " " in url:
        raise SettingsError(f"{VARIABLE} is no web address (what it holds is not shown); set https://..., or unset it")
    return Webhook(url)


@contextmanager
def _unlogged() -> Iterator[None]:
    """At INFO the client logs every URL whole."""
    logger = logging.getLogger("httpx2")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
