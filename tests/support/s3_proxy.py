"""A small HTTP proxy in front of moto that misbehaves on demand: each fault is used up by one matching request."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONDITIONS = ("If-None-Match", "If-Match")


class Proxy(ThreadingHTTPServer):
    """Forwards to moto; `faults` are taken one by one by conditional writes, `flips` and `stalls` by downloads."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream = upstream.removeprefix("http://")
        self.faults: list[str] = []
        self.flips = 0
        self.deaf = False  # forwards conditional writes without their condition
        self.bare = False  # refuses quotes around an ETag, as Ceph does
        self.silent = False  # swallows uploads
        self.stalls = 0  # downloads of files that stop half way
        self.stalled = threading.Event()
        self.downloads: list[str] = []  # paths of files that were asked for
        self.on_download: Callable[[int], None] = lambda size: None  # called with its bytes before each is answered
        self.away = False  # answers nothing but 503
        self.waited_for = 0  # requests that ask for leave to go on, which s3fs would await for ever
        self.released = threading.Event()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Broken connections are what this server is for."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Proxy

    def do_GET(self) -> None:
        self._serve()

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = dict(self.headers.items())
        self.server.waited_for += "Expect" in headers
        conditional = self.command == "PUT" and any(name in headers for name in CONDITIONS)
        if self.server.silent and self.command in ("PUT", "POST"):
            self.server.released.wait(60)
            self.close_connection = True
            return
        if self.server.away:
            self._answer(503, {}, b"")
            return
        fault = self.server.faults.pop(0) if conditional and self.server.faults else ""
        if fault.isdigit():
            self._answer(int(fault), {}, b"<Error><Code>ConditionalRequestConflict</Code></Error>" * (fault == "409"))
            return
        if self.server.bare and headers.get("If-Match", "").startswith('"'):
            self._answer(412, {}, b"<Error><Code>PreconditionFailed</Code></Error>")
            return
        if self.server.deaf:
            headers = {name: value for name, value in headers.items() if name not in CONDITIONS}
        status, answer_headers, answer = self._forward(headers, body)
        if fault == "lose":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        if self.command == "GET" and "/files/" in self.path:
            self.server.downloads.append(self.path)
            self.server.on_download(len(answer))
            if self.server.flips > 0:
                self.server.flips -= 1
                answer = bytes([answer[0] ^ 1]) + answer[1:]
        self._answer(status, answer_headers, answer)

    def _forward(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection(self.server.upstream, timeout=30)
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), content

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "date", "server", "transfer-encoding"):
                self.send_header(name, value)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command == "GET" and "/files/" in self.path and self.server.stalls > 0:
            self.server.stalls -= 1
            self.wfile.write(content[: len(content) // 2])
            self.server.stalled.set()
            self.server.released.wait(60)
        elif self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def running_proxy(upstream: str) -> Iterator[Proxy]:
    """A proxy to the server at `upstream`, in a thread."""
    server = Proxy(upstream)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
