"""A webhook: an HTTP server of our own that remembers what it was told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET_PATH = "/services/T000/B000/a-secret-that-nobody-prints"


@dataclass
class ReceivingWebhook:
    """`statuses`: what the next requests are answered; 200 afterwards."""

    port: int
    statuses: list[int] = field(default_factory=list)
    received: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """To be set as MINISERIES_WEBHOOK."""
        return f"http://127.0.0.1:{self.port}{SECRET_PATH}"


@contextmanager
def receiving_webhook() -> Iterator[ReceivingWebhook]:
    """Listen on a free port while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == SECRET_PATH
            status = webhook.statuses.pop(0) if webhook.statuses else 200
            webhook.received.append(json.loads(body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        webhook = ReceivingWebhook(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield webhook
        finally:
            server.shutdown()
            thread.join()
