"""The environments that our server and our workers run in: this shell's, with what they need over it.

The server: analytics off; leases in files, because those in memory are lost when it restarts, and with them the slots
of who holds them (facts on Prefect, 2). The workers and all they start: ask for work every second; `prefect` of this
environment first in the path, since that is the command that supervises a flow run.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from flows.embedded_server import OWNER
from flows.local.folder import InstallationFolder
from flows.local.processes import MARK

LOOPBACK = "127.0.0.1"
API_KEY = "MINISERIES_API_KEY"  # of `miniseries serve`; no worker has a use for it
DATABASE_VARIABLES = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")
QUIET = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
SERVER = {
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
}
WORKER = {
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
    "PYTHONUNBUFFERED": "1",
}


def server_environment(folder: InstallationFolder, port: int, database_url: str | None) -> dict[str, str]:
    """For our own server; its user interface is unpacked into its home, which is writable where Python's may not be."""
    ours = {
        **QUIET,
        **SERVER,
        MARK: folder.mark,
        "PREFECT_HOME": str(folder.prefect_home),
        "PREFECT_SERVER_API_HOST": LOOPBACK,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(folder.prefect_home / "ui"),
    }
    if database_url is not None:
        ours[DATABASE_VARIABLES[0]] = database_url
    return {**_inherited("PREFECT_PROFILE", "PREFECT_API_URL", *DATABASE_VARIABLES), **ours}


def worker_environment(folder: InstallationFolder, api_url: str, store_url: str, *, own_server: bool) -> dict[str, str]:
    """For a worker: of our own server nothing but its address is taken; of one that was found, how to log in too."""
    ours = {
        **QUIET,
        **WORKER,
        MARK: folder.mark,
        "PREFECT_API_URL": api_url,
        "MINISERIES_STORE": store_url,  # absolute: flows do not run in this folder
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
    }
    if own_server:
        ours["PREFECT_HOME"] = str(folder.prefect_home)
        return {**_inherited("PREFECT_PROFILE", *DATABASE_VARIABLES), **ours}
    return {**_inherited(*DATABASE_VARIABLES), **ours}


def fingerprint(environment: Mapping[str, str]) -> str:
    """Of the settings in it: to see that a shell's differ from those that the workers were started with."""
    settings = sorted(
        f"{name}={value}"
        for name, value in environment.items()
        if name.startswith("MINISERIES_") or name == "CUDA_VISIBLE_DEVICES"
    )
    return hashlib.sha256("\n".join(settings).encode()).hexdigest()


def _inherited(*without: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in (OWNER, API_KEY, *without)}
