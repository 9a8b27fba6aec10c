"""The status of a run's tags as an artifact of the flow run, where the Prefect UI shows it: once when it starts, once
when it is over.
"""

from __future__ import annotations

from collections.abc import Sequence

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact

from artifacts.store import Store
from core.planning.status import read_status
from core.planning.status_markdown import status_markdown
from tasks.ui.board import has_server

KEY = "miniseries-status"


def keep_status(tags: Sequence[str], store: Store, verdict: str = "") -> None:
    """Add a version of the artifact, where a server keeps it for people to see.

    Everything it says is in the store, so failing to is worth a warning, no more.
    """
    if not has_server():
        return
    try:
        markdown = status_markdown(read_status(tags, store), verdict)
        create_markdown_artifact(markdown, key=KEY, description=f"What exists of {', '.join(tags)}")
    except Exception as error:  # noqa: BLE001 -- whatever the server or the store has: the run matters more
        get_run_logger().warning("the status was not kept as an artifact: %s", error)
