"""The Prefect server: one that was named and answers is used, else one of our own is started on 127.0.0.1.

Named is what PREFECT_API_URL or the active Prefect profile says. A named server of this machine that does not answer is
started at its own address, so what names it stays right; one elsewhere that does not answer is an error.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from artifacts.process import Process
from flows.local.client import client_of
from flows.local.environment import LOOPBACK, server_environment
from flows.local.folder import InstallationError, InstallationFolder
from flows.local.processes import lives, start_detached

FIRST_PORT = 4200
PORTS_TRIED = 100
LAST_PORT = 65535
PATIENCE_SECONDS = 180.0  # to make an empty database on a slow, busy machine; 10 to 15 s is usual
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Found:
    """A server that was named and answers."""

    api_url: str


@dataclass(frozen=True)
class ToStart:
    """Where one is to be started on 127.0.0.1."""

    port: int
    api_url: str


def named_server() -> str | None:
    """The API URL that Prefect's command line would use."""
    from prefect.settings import PREFECT_API_URL

    url: str | None = PREFECT_API_URL.value()
    return url


def find_server(named: str | None, port: int | None, usual_port: int = FIRST_PORT) -> Found | ToStart:
    """Which server to use: without a `port`, one is started at the first free one from `usual_port` on.

    Raises `InstallationError` when the named one is elsewhere and does not answer, or `port` contradicts it.
    """
    if named is None:
        chosen = _free_port(usual_port) if port is None else _require_free(port)
        return ToStart(chosen, f"http://{LOOPBACK}:{chosen}/api")
    local = _local_port(named)
    if port not in (None, local):
        raise InstallationError(f"{_says(named)}, but --port says {port}; leave --port out, or unset the other")
    if answers(named):
        return Found(named)
    if local is None:
        raise InstallationError(
            f"{_says(named)}, which gives no answer; start that server, or unset it to have one started here"
        )
    return ToStart(_require_free(local), named)


def start_server(folder: InstallationFolder, port: int, database_url: str | None) -> Process:
    """Start our own at a port of 127.0.0.1."""
    folder.prefect_home.mkdir(exist_ok=True)
    return start_detached(
        [sys.executable, "-m", "prefect", "server", "start"],
        folder=folder.path,
        environment=server_environment(folder, port, database_url),
        log=folder.log("server"),
    )


def await_server(folder: InstallationFolder, process: Process, api_url: str) -> None:
    """Return when it answers. Raises `InstallationError` with the end of its log when it ended or took too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not answers(api_url):
        if not lives(process, folder.mark):
            raise InstallationError(f"the Prefect server ended while it started: {last_line(folder.log('server'))}")
        if time.monotonic() > deadline:
            raise InstallationError(
                f"the Prefect server gave no answer within {PATIENCE_SECONDS:.0f} s; see {folder.log('server')}"
            )
        time.sleep(POLL_SECONDS)
    if not lives(process, folder.mark):  # another server was faster at this port
        raise InstallationError(f"{api_url} is another server's address now; repeat `miniseries up`")


def answers(api_url: str) -> bool:
    """Whether a healthy Prefect server is there."""
    with client_of(api_url) as client:
        return client.api_healthcheck() is None


def last_line(log: Path) -> str:
    """The last line of a log that says something, and where the log is."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    said = [line for line in lines if line and line != "Server stopped!"]
    return f"{said[-1] if said else 'it wrote nothing'} (all of it: {log})"


def _free_port(first: int) -> int:
    for port in range(first, min(first + PORTS_TRIED, LAST_PORT + 1)):
        if _is_free(port):
            return port
    raise InstallationError(f"the ports {first} and following of {LOOPBACK} are taken; name a free one with --port")


def _require_free(port: int) -> int:
    if not _is_free(port):
        raise InstallationError(
            f"port {port} of {LOOPBACK} is taken by another program; end that, or name another port with --port"
        )
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _local_port(api_url: str) -> int | None:
    """The port, if the address is this machine's loopback and our own server would have that URL."""
    parts = urlsplit(api_url)
    is_ours = parts.scheme == "http" and parts.hostname in (LOOPBACK, "localhost") and parts.path.rstrip("/") == "/api"
    return parts.port if is_ours else None


def _says(named: str) -> str:
    source = "PREFECT_API_URL" if os.environ.get("PREFECT_API_URL") else "the active Prefect profile"
    return f"{source} names {named}"
