"""The pages of one task run on its Prefect server, brought there by a thread of their own.

Guarantees: who shows a page never waits for the server and never hears that it is away, which is worth one warning;
of each page the newest state is sent, at most every ten seconds, and the last one in the end; a page is one artifact,
updated in place. Where no server outlives the run (Prefect's embedded one), nobody could look: see `has_server`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Any
from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.settings import PREFECT_API_URL

from tasks.ui.page import Page

PAUSE_SECONDS = 10.0  # between two updates
CLOSING_SECONDS = 5.0  # that the end of a stage waits for a slow server
REQUEST_SECONDS = 15.0

Render = Callable[[], Page]

log = logging.getLogger("miniseries.tasks")


def has_server() -> bool:
    """Whether this is a run on a Prefect server that was named, and so is there to be looked at afterwards."""
    return PREFECT_API_URL.value() is not None and runtime.flow_run.id is not None


class Board:
    """A context manager: shows pages while it is open, and the last of each before it is closed."""

    def __init__(self) -> None:
        self._flow_run, self._task_run = _id(runtime.flow_run.id), _id(runtime.task_run.id)
        self._client: Any = None  # Prefect's, made by the thread
        self._artifacts: dict[str, UUID] = {}
        self._wanted: dict[str, Render] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._has_warned = False
        self._thread: threading.Thread | None = None  # none before there is something to show

    def show(self, key: str, render: Render) -> None:
        """Bring the page `key` up to date soon; `render` is called in the board's thread, and may read the store."""
        with self._changed:
            self._wanted[key] = render
            self._changed.notify()
            if self._thread is None:
                work = partial(copy_context().run, self._work)  # with the settings and the run of who shows
                self._thread = threading.Thread(target=work, name="miniseries-board", daemon=True)
                self._thread.start()

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(CLOSING_SECONDS)

    def _work(self) -> None:
        while wanted := self._next():
            for key, render in wanted.items():
                self._bring(key, render)
            with self._changed:
                self._changed.wait_for(lambda: self._closing, PAUSE_SECONDS)

    def _next(self) -> dict[str, Render]:
        """What is to be shown; nothing once the board is closed and all is shown."""
        with self._changed:
            self._changed.wait_for(lambda: self._wanted or self._closing)
            wanted, self._wanted = self._wanted, {}
            return wanted

    def _bring(self, key: str, render: Render) -> None:
        try:
            self._send(key, render())
        except Exception as error:  # noqa: BLE001 -- whatever ails the server or a page, the stage matters more
            if not self._has_warned:
                log.warning("the Prefect UI does not show %s: %s", key, " ".join(str(error).split()) or repr(error))
            self._has_warned = True

    def _send(self, key: str, page: Page) -> None:
        if self._client is None:
            self._client = get_client(sync_client=True, httpx_settings={"timeout": REQUEST_SECONDS})
        if key in self._artifacts:
            update = ArtifactUpdate(data=page.data, description=page.description)
            self._client.update_artifact(self._artifacts[key], update)
            return
        new = ArtifactCreate(
            key=key,
            type=page.form,
            data=page.data,
            description=page.description,
            flow_run_id=self._flow_run,
            task_run_id=self._task_run,
        )
        self._artifacts[key] = self._client.create_artifact(new).id


def _id(text: str | None) -> UUID | None:
    return UUID(text) if text else None
