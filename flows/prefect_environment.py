"""Prefect settings that the embedded server needs on a laptop.

Every one is a default: what the environment already says wins.
- analytics off: offline they end a first run with a traceback;
- 90 s for the embedded server to start: 20 is not enough on two slow cores with an empty home;
- Prefect's own log lines stay out of the terminal (the display says what matters) but reach the UI; so do those of
  its insides, which name every event that a server did not take;
- heartbeats only where a server outlives the run, since they cost a second at the end of every flow.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from artifacts.errors import StoreError
from flows.embedded_server import claim_embedded_server, end_orphaned_servers, end_own_server
from tasks.settings import SettingsError, settings_from_environment

DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
    "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    "PREFECT_CLI_WRAP_LINES": "false",
}
EMBEDDED_TIMEOUT = "connect to ephemeral Prefect API server"  # in Prefect's error, which is a plain RuntimeError


class PrefectAway(StoreError):
    """The Prefect server ended the run by giving no answer, or an error."""


def names_a_server() -> bool:
    """Whether the environment or a Prefect profile may name a server; told without importing Prefect."""
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    return bool(os.environ.get("PREFECT_API_URL")) or (home / "profiles.toml").exists()


def prefer_defaults() -> None:
    """Set what is not set; call before Prefect is imported, which is when it reads the environment."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


@contextmanager
def prefect_for_this_run() -> Iterator[None]:
    """Prefect with the settings above.

    Raises `SettingsError` when a Prefect server was named and does not answer, `PrefectAway` when it ceases to.
    """
    prefer_defaults()
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
        temporary_settings,
    )

    url = PREFECT_API_URL.value() or None  # unset it by setting it to nothing
    if url is not None and (error := get_client(sync_client=True).api_healthcheck()):
        raise SettingsError(
            f"PREFECT_API_URL={url} gives no answer ({error}); start that server, or unset the variable to run without"
        )
    if url is None:
        _require_no_need_of_a_server()
        end_orphaned_servers()
        claim_embedded_server()
    logging.raiseExceptions = False  # what cannot be logged because the server is gone is told once, by us
    try:
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None} if url is None else {}):
            yield
    except httpx.HTTPError as error:  # after the client's own retries; stages report theirs as failures
        why = f"HTTP {error.response.status_code}" if isinstance(error, httpx.HTTPStatusError) else type(error).__name__
        raise PrefectAway(_away(url, why)) from error
    except RuntimeError as error:
        if EMBEDDED_TIMEOUT not in str(error):
            raise
        end_own_server()
        seconds = PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value()
        raise PrefectAway(
            f"Prefect's embedded server did not start within {seconds} s; run the same command again when this machine "
            "is less busy, or set PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS to more"
        ) from error


def _away(url: str | None, why: str) -> str:
    if url is None:
        return (
            f"Prefect's embedded server, which this run had started, gives no answer any more ({why}); what was made "
            "and checkpointed is kept: run the same command again"
        )
    return (
        f"the Prefect server at {url} could not do what the run needs ({why}); it may be overloaded or gone: run the "
        "same command again once it answers"
    )


def _require_no_need_of_a_server() -> None:
    """Raise `SettingsError` when heavy stages are to be runs of a deployment, which an embedded server cannot have."""
    if settings_from_environment().dispatch == "deployment":
        from tasks.dispatch.gpu_pool import require_server

        require_server()
