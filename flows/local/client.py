"""A client of one Prefect server, whatever the environment names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from flows.local.folder import InstallationError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


@contextmanager
def client_of(api_url: str) -> Iterator[SyncPrefectClient]:
    """Talk to the server at `api_url`, with what the settings say about logging in.

    Raises `InstallationError` for what the server refuses, or when it goes away.
    """
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: api_url}), get_client(sync_client=True) as client:
        try:
            yield client
        except httpx.HTTPError as error:
            raise InstallationError(f"the Prefect server at {api_url} did not do what it was asked: {error}") from error
