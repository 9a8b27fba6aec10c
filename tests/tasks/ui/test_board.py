"""Pages on a Prefect server: the newest state of each arrives, and a server that is away harms nobody."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    temporary_settings,
)
from running import wait_until
from s3_server import free_port

from tasks.ui.board import Board, has_server
from tasks.ui.page import Page

NO_TOKEN = {PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False}
ARTIFACT = "11111111-1111-1111-1111-111111111111"


@pytest.fixture(autouse=True)
def no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect's client tells the event feed of new artifacts by another connection, which would outlive the test."""
    monkeypatch.setattr("prefect.events.utilities.emit_event", lambda **_event: None)


@dataclass
class Api:
    """The part of Prefect's API that keeps artifacts."""

    requests: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    may_answer: threading.Event = field(default_factory=threading.Event)
    status: int = 201


@contextmanager
def serving(api: Api) -> Iterator[str]:
    """Its URL. Answers once `may_answer` is set."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            api.requests.append((self.command, self.path, body))
            api.may_answer.wait(60)
            answer = json.dumps({"id": ARTIFACT, **body}).encode() if self.command == "POST" else b""
            self.send_response(api.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_PATCH = do_POST

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/api"
        finally:
            api.may_answer.set()
            server.shutdown()
            thread.join()


def bar(share: float) -> Page:
    return Page(form="progress", data=share, description=f"{share} %")


def test_of_what_changes_while_the_server_is_slow_the_last_state_arrives_in_place() -> None:
    api = Api()
    with serving(api) as url, temporary_settings({PREFECT_API_URL: url, **NO_TOKEN}), Board() as board:
        for share in range(100):
            board.show("a-bar", lambda share=share: bar(float(share)))
        api.may_answer.set()
    created, *updates = api.requests
    assert created[:2] == ("POST", "/api/artifacts/")
    assert (created[2]["key"], created[2]["type"]) == ("a-bar", "progress")
    assert [update[:2] for update in updates] == [("PATCH", f"/api/artifacts/{ARTIFACT}")] * len(updates)
    assert api.requests[-1][2]["data"] == 99.0
    assert len(api.requests) <= 3


def test_a_server_that_fails_is_told_once_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "miniseries.tasks")
    api = Api(status=500)
    api.may_answer.set()
    with serving(api) as url, temporary_settings({PREFECT_API_URL: url, **NO_TOKEN}), Board() as board:
        for number in range(3):
            board.show(f"a-bar-{number}", lambda: bar(1.0))
    assert len(api.requests) == 3
    assert [record.message.partition(" does")[0] for record in caplog.records] == ["the Prefect UI"]


def test_who_shows_does_not_wait_for_a_server_that_gives_no_answer() -> None:
    api = Api()
    with serving(api) as url, temporary_settings({PREFECT_API_URL: url, **NO_TOKEN}):
        with Board() as board:
            board.show("a-bar", lambda: bar(1.0))
            wait_until(lambda: api.requests)
            board.show("another", lambda: bar(2.0))
        assert [request[2]["key"] for request in api.requests] == ["a-bar"]
        api.may_answer.set()
        wait_until(lambda: len(api.requests) == 2)
    assert api.requests[1][2]["key"] == "another"


def test_a_page_that_cannot_be_made_does_not_keep_the_others_from_being_shown() -> None:
    def broken() -> Page:
        raise ValueError("its numbers are not there")

    api = Api()
    api.may_answer.set()
    with serving(api) as url, temporary_settings({PREFECT_API_URL: url, **NO_TOKEN}), Board() as board:
        board.show("broken", broken)
        board.show("whole", lambda: bar(50.0))
    assert [request[2]["key"] for request in api.requests] == ["whole"]


def test_nothing_is_shown_outside_of_a_run_or_without_a_server_that_was_named() -> None:
    with temporary_settings({PREFECT_API_URL: None}):
        assert not has_server()
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        assert not has_server()
