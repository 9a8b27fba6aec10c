"""Prefect settings that the embedded server needs on a laptop; must be applied before Prefect is imported.

Every one is a default: what the environment already says wins.
- analytics off: offline they end a first run with a traceback;
- 90 s for the embedded server to start: 20 is not enough on two slow cores with an empty home;
- heartbeats only where a server outlives the run, since they cost a second at the end of every flow;
- Prefect's own log lines stay out of the terminal (the display says what matters) but reach the UI.
"""

from __future__ import annotations

import os

DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
    "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    "PREFECT_CLI_WRAP_LINES": "false",
}


def apply_defaults() -> None:
    """Set what is not set."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
