"""Word of how a run ended, posted to the webhook of MINISERIES_WEBHOOK: completed, failed, cancelled or crashed.

    {event, flow, tags, run, url, message, seconds, store, text}     `text` says all of it, for Slack and its like

The body of a flow tells it, and not Prefect's state hooks: those for a cancellation are called in the worker, whose
environment is another one, and plain `miniseries run` knows why it was stopped. Nothing is told when the process is
killed: an automation on the server sees that. A message that cannot be delivered is one log line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Literal

from prefect import get_run_logger, runtime
from prefect.client.orchestration import get_client
from prefect.exceptions import TerminationSignal
from prefect.settings import PREFECT_UI_URL

from artifacts.errors import StoreError
from artifacts.location import store_location
from artifacts.redaction import redact
from core.publishing.card_markdown import duration
from flows.stopping import Stopped
from flows.webhook import HURRIED, PATIENT, Webhook, WebhookError, webhook_from_environment
from tasks.display import display_with
from tasks.ui.board import has_server

Event = Literal["completed", "failed", "cancelled", "crashed"]

MARKS: dict[Event, str] = {"completed": "✓", "failed": "✗", "cancelled": "‖", "crashed": "✗"}
SERVER_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a run ended."""

    event: Event
    flow: str
    tags: tuple[str, ...]
    run: str  # its name in the Prefect UI
    url: str | None  # its page there; None where no server outlives it
    message: str  # one line
    seconds: float
    store: str

    def body(self) -> dict[str, object]:
        """What is posted."""
        where = f"\n{self.url}" if self.url else ""
        spoken = f"{MARKS[self.event]} {self.flow} {self.run} {self.event} after {duration(self.seconds)}"
        return {**asdict(self), "text": f"{spoken}: {self.message}{where}"}


class Announcement:
    """What the body of a flow says of its end; when it ends by an exception, that says it."""

    def __init__(self) -> None:
        self.event: Event = "completed"
        self.message = ""

    def completed(self, message: str) -> None:
        """All that was asked for is there."""
        self.event, self.message = "completed", message

    def failed(self, message: str) -> None:
        """Not all of it is."""
        self.event, self.message = "failed", message


@contextmanager
def announced(tags: Sequence[str]) -> Iterator[Announcement]:
    """In the body of a flow: tell the webhook how the block ended, whatever ends it; that is raised again.

    Raises `SettingsError` at once when the webhook is no web address.
    """
    webhook = webhook_from_environment()
    announcement, started = Announcement(), time.monotonic()
    try:
        yield announcement
    except BaseException as error:
        if webhook is not None:
            event = _event_of(error)
            message = announcement.message if event == "failed" and announcement.message else _line(error)
            pauses = PATIENT if event == "failed" else HURRIED
            _tell(webhook, _ending(event, message, tags, time.monotonic() - started), pauses, _say())
        raise
    if webhook is not None:
        ending = _ending(announcement.event, announcement.message, tags, time.monotonic() - started)
        _tell(webhook, ending, PATIENT, _say())


def tell_completed(flow: str, tags: Sequence[str], seconds: float, say: Callable[[str], None]) -> None:
    """The same for a run that found everything in the store and needed no flow run."""
    webhook = webhook_from_environment()
    if webhook is not None:
        ending = Ending(
            event="completed",
            flow=flow,
            tags=tuple(tags),
            run=", ".join(tags),
            url=None,
            message=f"complete: {', '.join(tags)}; everything was in the store",
            seconds=round(seconds, 1),
            store=_store_url(),
        )
        _tell(webhook, ending, PATIENT, say)


def _tell(webhook: Webhook, ending: Ending, pauses: Sequence[float], say: Callable[[str], None]) -> None:
    try:
        webhook.post(ending.body(), pauses)
    except WebhookError as error:
        say(str(error))


def _say() -> Callable[[str], None]:
    return display_with(get_run_logger()).say  # type: ignore[arg-type]


def _ending(event: Event, message: str, tags: Sequence[str], seconds: float) -> Ending:
    page = f"{PREFECT_UI_URL.value()}/runs/flow-run/{runtime.flow_run.id}"
    return Ending(
        event=event,
        flow=runtime.flow_run.flow_name,
        tags=tuple(tags),
        run=runtime.flow_run.name,
        url=page if has_server() and PREFECT_UI_URL.value() else None,
        message=redact(" ".join(message.split())),
        seconds=round(seconds, 1),
        store=_store_url(),
    )


def _store_url() -> str:
    try:
        return store_location().url
    except StoreError:  # which is how the run ended, most likely
        return ""


def _line(error: BaseException) -> str:
    if isinstance(error, TerminationSignal):
        return "stopped by SIGTERM; what was checkpointed is kept, the next run continues from there"
    if isinstance(error, Stopped):
        return f"stopped by {error}; what was checkpointed is kept, the same command continues from there"
    return str(error) or type(error).__name__


def _event_of(error: BaseException) -> Event:
    """A signal to who runs it from a terminal is that person's wish; a worker's runs are asked to stop by a cancel."""
    if isinstance(error, Exception):
        return "failed"
    if isinstance(error, Stopped) or runtime.deployment.id is None or _is_cancelling():
        return "cancelled"
    return "crashed"


def _is_cancelling() -> bool:
    try:
        client = get_client(sync_client=True, httpx_settings={"timeout": SERVER_SECONDS})
        state = client.read_flow_run(runtime.flow_run.id).state
    except Exception as error:  # noqa: BLE001 -- a server that is away must not keep the run from ending
        get_run_logger().warning("whether the run was cancelled could not be asked: %s", error)
        return False
    return state is not None and state.is_cancelling()
