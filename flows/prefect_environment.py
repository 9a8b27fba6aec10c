"""Prefect settings that the embedded server needs on a laptop.

Every one is a default: what the environment already says wins.
- analytics off: offline they end a first run with a traceback;
- 90 s for the embedded server to start: 20 is not enough on two slow cores with an empty home;
- Prefect's own log lines stay out of the terminal (the display says what matters) but reach the UI;
- heartbeats only where a server outlives the run, since they cost a second at the end of every flow.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
    "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    "PREFECT_CLI_WRAP_LINES": "false",
}


@contextmanager
def prefect_for_this_run() -> Iterator[None]:
    """Set what is not set, then import Prefect, which reads the environment when it is imported."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    embedded = PREFECT_API_URL.value() is None
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None} if embedded else {}):
        yield
