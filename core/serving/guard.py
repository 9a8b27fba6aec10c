"""What every request passes before anything else looks at it: host, key, size. And what every response carries.

- Without a key the server is for this machine: a request must name it by a loopback name, so that a web page of
  somewhere else cannot reach it through a name it made up (DNS rebinding). A body must be declared as JSON, which such
  a page may not do without asking first.
- With a key, everything but the page and /health needs `Authorization: Bearer KEY`, compared in constant time.
- A body larger than the limit is refused, by its declared length or while it arrives.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.serving.errors import ApiError

OPEN_PATHS = frozenset({"/", "/health"})
COUNTED_PATHS = frozenset({"/", "/health", "/metrics", "/v1/models", "/v1/chat/completions", "/v1/completions"})
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may ask: `key` None needs none; `hosts` None allows any name."""

    key: str | None = None
    hosts: frozenset[str] | None = None

    def check(self, path: str, headers: Headers) -> None:
        """Raise `ApiError` for who may not."""
        if self.hosts is not None and host_name(headers.get("host", "")) not in self.hosts:
            raise ApiError(403, "this server answers to the names of its own machine only; open it as 127.0.0.1")
        if self.key is None or path in OPEN_PATHS:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("latin-1"), self.key.encode()):
            raise ApiError(
                401,
                "this server needs its API key, as `Authorization: Bearer KEY`",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )


def host_name(host: str) -> str:
    """The name in a Host header, without its port: `127.0.0.1:8000`, `[::1]:8000`, `localhost`."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


class Guard:
    """ASGI middleware around the whole server; `count` is told the route (or "other") and status of each response."""

    def __init__(self, app: ASGIApp, *, access: Access, request_bytes: int, count: Callable[[str, int], None]) -> None:
        self._app = app
        self._access = access
        self._request_bytes = request_bytes
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = scope["path"]
                self._count(path if path in COUNTED_PATHS else "other", message["status"])
                carried = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    carried.setdefault(name, value)
            await send(message)

        try:
            self._access.check(scope["path"], headers)
            self._check_length(headers)
        except ApiError as error:
            return await error.response()(scope, receive, send_with_headers)
        return await self._app(scope, self._limited(receive), send_with_headers)

    def _check_length(self, headers: Headers) -> None:
        declared = headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared[:20]) > self._request_bytes:
            raise ApiError(413, self._refusal)

    def _limited(self, receive: Receive) -> Receive:
        """`receive` that refuses a body which grows beyond the limit without having said so."""
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._request_bytes:
                raise HTTPException(413, self._refusal)
            return message

        return limited

    @property
    def _refusal(self) -> str:
        return f"the request has more than {self._request_bytes:,} bytes; shorten it"
