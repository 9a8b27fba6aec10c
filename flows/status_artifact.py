"""The status of a run's tags as an artifact of the flow run, where the Prefect UI shows it: once when it starts, once
when it is over. Its description is one line that says which of them it is, and leads to the store; what is published
is linked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prefect import get_run_logger, runtime
from prefect.artifacts import create_markdown_artifact

from artifacts.store import Store
from core.planning.status import Status, read_status
from core.planning.status_markdown import status_markdown
from core.stages.kind import StageKind
from tasks.settings import settings_from_environment
from tasks.ui.board import has_server
from tasks.ui.results import RECEIPT, repository_table

KEY = "miniseries-status"


def keep_status(tags: Sequence[str], store: Store, verdict: str = "") -> None:
    """Add a version of the artifact, where a server keeps it for people to see.

    Everything it says is in the store, so failing to is worth a warning, no more.
    """
    if not has_server():
        return
    try:
        status = read_status(tags, store)
        markdown = "\n\n".join([status_markdown(status, verdict), *_published(status, store)])
        create_markdown_artifact(markdown, key=KEY, description=_description(status, verdict))
    except Exception as error:  # noqa: BLE001 -- whatever the server or the store has: the run matters more
        get_run_logger().warning("the status was not kept as an artifact: %s", error)


def _description(status: Status, verdict: str) -> str:
    """`attempt 2 begins: 7 of 25 stages of tiny are there`, or how it ended."""
    there = sum(planned.progress.state == "cached" for planned in status.plan.stages)
    begins = (
        f"attempt {runtime.flow_run.run_count or 1} begins: {there} of {len(status.plan.stages)} stages of "
        f"{', '.join(status.plan.tags)} are there"
    )
    return f"{verdict or begins} · store: [{status.store_url}]({status.store_url})"


def _published(status: Status, store: Store) -> Iterator[str]:
    """The repositories of the tags that are published."""
    publications = settings_from_environment().runtime.publication_url
    for planned in status.plan.stages:
        if planned.stage.kind is StageKind.PUBLISH and (manifest := store.manifest(planned.stage.address)):
            yield f"Published: {planned.stage.name}"
            yield repository_table(store.read_file(manifest, RECEIPT).decode(), publications)
