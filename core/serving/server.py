"""Running the application: where it listens, and how it stops.

SIGTERM and Ctrl-C stop it in order: no new connections, then answers under way may end; those that have not within the
grace are cut off with a proper end of their streams. Then the process goes on, and exits with 0.
"""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from artifacts.errors import StoreError
from core.serving.app import create_app
from core.serving.guard import Access
from core.serving.service import Service

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
CONNECTIONS = 1024  # more are refused before their requests are read: bounds the bytes in memory
FAREWELL_SECONDS = 2  # after the grace, to send the ends


class ServeError(StoreError):
    """A server that must not or cannot be started: one line that says why and what to do."""


def access_for(host: str, key: str | None, *, allow_no_key: bool) -> Access:
    """Who may ask a server at `host`; raise `ServeError` for one that anybody on the network could use."""
    if is_loopback(host):
        return Access(key=key, hosts=None if key else LOOPBACK_NAMES | {host})
    if key is None and not allow_no_key:
        raise ServeError(
            f"{host} can be reached by others: set MINISERIES_API_KEY to a secret of your choice, "
            "or say --no-key to let anybody in"
        )
    return Access(key=key)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """A listening socket (port 0: any free one); raise `ServeError` when the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(1024)
    except OSError as error:
        raise ServeError(f"cannot listen on {host} port {port}: {error.strerror}; choose another --port") from None
    return listening


def run_server(service: Service, access: Access, listening: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C; return when everything has ended."""
    with _survived(signal.SIGINT, signal.SIGTERM):
        make_server(service, access).run([listening])


def make_server(service: Service, access: Access) -> uvicorn.Server:
    """The server, for who runs it in a thread: it stops when its `should_exit` is set."""
    grace = service.limits.grace_seconds
    config = uvicorn.Config(
        create_app(service, access),
        log_level="warning",
        limit_concurrency=CONNECTIONS,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(grace) + FAREWELL_SECONDS,
    )
    return _Server(config, cut_off=service.stop, grace=grace)


class _Server(uvicorn.Server):
    """uvicorn, which waits for answers under way, but not longer than a grace."""

    def __init__(self, config: uvicorn.Config, *, cut_off: Callable[[], None], grace: float) -> None:
        super().__init__(config)
        self._cut_off = cut_off
        self._grace = grace

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        end = loop.call_later(self._grace, lambda: loop.run_in_executor(None, self._cut_off))
        try:
            await super().shutdown(sockets)
        finally:
            end.cancel()


@contextmanager
def _survived(*numbers: signal.Signals) -> Iterator[None]:
    """uvicorn raises the signal that stopped it once more when it is done: by then it has been obeyed."""

    def obeyed(_number: int, _frame: FrameType | None) -> None:
        """Nothing is left to do."""

    before = {number: signal.signal(number, obeyed) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
