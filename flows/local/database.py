"""Which database our server uses: SQLite in its home, or PostgreSQL by URL. A password is never shown or recorded.

The URL travels in the environment of the server alone, which only its user can read.
"""

from __future__ import annotations

import os

from artifacts.redaction import redact
from flows.local.environment import DATABASE_VARIABLES
from flows.local.folder import InstallationError

SQLITE = "SQLite"
DRIVER = "postgresql+asyncpg"


def database_url(wanted: str | None) -> str | None:
    """What the user asked for, or what the environment says; None for SQLite.

    Raises `InstallationError` for what Prefect's server cannot use.
    """
    url = wanted or next(filter(None, map(os.environ.get, DATABASE_VARIABLES)), None)
    if url is None:
        return None
    scheme, separator, rest = url.partition("://")
    if scheme != DRIVER or not rest.rpartition("@")[2].partition("/")[0]:
        named = f"{scheme}://..." if separator else "a text without ://"
        raise InstallationError(
            f"the database is given as {named}, but Prefect's server takes {DRIVER}://user:password@host:5432/name "
            f"(or no --database and no {DATABASE_VARIABLES[1]}: SQLite)"
        )
    return url


def described(url: str | None) -> str:
    """The database as it may be shown and recorded."""
    return SQLITE if url is None else redact(url)
