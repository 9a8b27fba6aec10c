"""A Prefect server that answers when asked how it is, and then has no answer for a run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import prefect
import psutil
import pytest
from running import Miniseries

ANSWERS = {"/api/health": True, "/api/admin/version": prefect.__version__}


class Overloaded(BaseHTTPRequestHandler):
    """Healthy, and unavailable for everything else, as a server is whose database is locked."""

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.rfile.read(length)
        content = json.dumps(ANSWERS.get(self.path, {"exception_message": "Service Unavailable"})).encode()
        self.send_response(200 if self.path in ANSWERS else 503)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def overloaded() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Overloaded) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()
        thread.join()


def test_a_run_that_the_server_does_not_take_ends_with_one_line(miniseries: Miniseries, overloaded: str) -> None:
    done = miniseries.run("run", "micro", PREFECT_API_URL=overloaded, PREFECT_CLIENT_MAX_RETRIES="0")
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert f"the Prefect server at {overloaded} could not do what the run needs (HTTP 503)" in line
    assert "run the same command again" in line


def test_an_embedded_server_that_takes_too_long_to_start_ends_the_run_with_one_line(miniseries: Miniseries) -> None:
    done = miniseries.run("run", "micro", PREFECT_API_URL="", PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="1")
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert "Prefect's embedded server did not start within 1 s" in line
    assert "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS" in line
    assert not [process for process in psutil.process_iter() if _is_at_home(process, str(miniseries.home))]


def _is_at_home(process: psutil.Process, home: str) -> bool:
    try:
        return process.environ().get("HOME") == home and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
