"""Which Prefect server is used, where one is started, and with which database."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator

import pytest
from s3_server import free_port

from flows.local.database import database_url, described
from flows.local.environment import DATABASE_VARIABLES
from flows.local.folder import InstallationError
from flows.local.server import Found, ToStart, find_server


class Healthy(http.server.BaseHTTPRequestHandler):
    """What a Prefect server says of its health."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b"true")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is not its place."""


@pytest.fixture
def healthy() -> Iterator[str]:
    """The API URL of something that answers."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()
        thread.join()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program has."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


def test_a_named_server_that_answers_is_used(healthy: str) -> None:
    assert find_server(healthy, None) == Found(healthy)
    with pytest.raises(InstallationError, match="--port says 1"):
        find_server(healthy, 1)


def test_a_named_server_of_this_machine_that_is_not_there_is_started_at_its_address() -> None:
    named = f"http://localhost:{free_port()}/api"
    target = find_server(named, None)
    assert isinstance(target, ToStart)
    assert target.api_url == named


@pytest.mark.parametrize("named", ["http://team.invalid:4200/api", "https://127.0.0.1:1/api"])
def test_a_named_server_elsewhere_that_is_not_there_is_an_error(named: str) -> None:
    with pytest.raises(InstallationError, match="gives no answer; start that server"):
        find_server(named, None)


def test_without_a_name_the_first_free_port_is_taken_and_one_that_is_asked_for_must_be_free(taken: int) -> None:
    target = find_server(None, None, taken)
    assert isinstance(target, ToStart)
    assert taken < target.port < taken + 100
    with pytest.raises(InstallationError, match=f"port {taken} of 127.0.0.1 is taken"):
        find_server(None, taken)


def test_a_database_is_shown_without_user_and_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DATABASE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert database_url(None) is None
    assert described(None) == "SQLite"
    url = "postgresql+asyncpg://ada:lovelace@db.invalid:5432/prefect"
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", url)
    assert database_url(None) == url
    assert described(url) == "postgresql+asyncpg://***@db.invalid:5432/prefect"


@pytest.mark.parametrize("url", ["postgresql://ada:lovelace@db/prefect", "ada:lovelace@db", "postgresql+asyncpg://"])
def test_what_is_no_database_for_prefect_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InstallationError, match=r"takes postgresql\+asyncpg://") as refused:
        database_url(url)
    assert "lovelace" not in str(refused.value)
