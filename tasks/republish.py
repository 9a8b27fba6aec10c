"""Bringing the published repositories of one tag up to date with the newest artifacts of this store.

The store's own record of the publication stays as it was: what is published now is told by the repositories' indexes.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from artifacts.errors import StoreUnavailable
from artifacts.lease import HeldLease
from artifacts.store import Store
from core.planning.stage import Stage
from core.planning.stream_length import measured_by, packed_by_manifest
from core.planning.study import publication_in
from core.publishing.revision import Revision, correct, examine
from core.stages.context import StageContext, StageError, StageUnavailable
from core.stages.report import Reporter, parse
from tasks.hub_token import in_hub_environment
from tasks.launch import Launcher
from tasks.perform import Assignment, held_inputs
from tasks.settings import RunSettings, settings_from_environment
from tasks.stage_task import run_display

Revise = Callable[[StageContext[Any]], list[Revision]]


@dataclass(frozen=True, kw_only=True)
class Republication:
    """What came of one tag: its repositories, or why nothing could be said of them."""

    tag: str
    revisions: tuple[Revision, ...] = ()
    error: str = ""

    def listing(self) -> dict[str, object]:
        """The JSON shape."""
        return {
            "tag": self.tag,
            "repositories": [revision.listing() for revision in self.revisions],
            "error": self.error,
        }


def published_tags(store: Store) -> list[str]:
    """The tags that were published from this store, by name."""
    prefix = "publish/"
    committed = (folder for folder, found in store.survey().items() if found.committed)
    return sorted({folder.removeprefix(prefix).rpartition("-")[0] for folder in committed if folder.startswith(prefix)})


def republish_tag(tag: str, *, dry_run: bool) -> Republication:
    """Audit and compare the repositories of `tag`; correct them unless it is a dry run. Errors are in what it returns,
    except those of networks and stores, which may pass.
    """
    settings = settings_from_environment()
    store = settings.open_store()
    stage = measured_by(packed_by_manifest(store))(publication_in(tag, store))
    try:
        _require_made(stage, store)
        lease = store.leases.acquire(stage.address, purpose=f"republish {tag}", ttl=settings.lease_seconds)
        if not isinstance(lease, HeldLease):
            raise StageError(f"{tag} is being published by {lease.description}; run again when that is done")
        try:
            with lease.kept_alive():
                revisions = _revised(stage, settings, store, lease, examine if dry_run else correct)
        finally:
            lease.release()
    except (StageUnavailable, StoreUnavailable):
        raise
    except StageError as error:
        return Republication(tag=tag, error=str(error))
    return Republication(tag=tag, revisions=tuple(revisions))


republish_task = task(
    name="republish",
    task_run_name="republish {tag}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=[10, 60, 300],
    retry_condition_fn=lambda _task, _run, state: isinstance(
        state.result(raise_on_failure=False), (StageUnavailable, StoreUnavailable)
    ),
)(republish_tag)


def _require_made(stage: Stage, store: Store) -> None:
    missing = [role for role, needed in stage.inputs.items() if store.whole_manifest(needed.address) is None]
    if missing:
        raise StageError(f"{', '.join(missing)} as the recipe says now is not made; run `miniseries run {stage.name}`")


def _revised(stage: Stage, settings: RunSettings, store: Store, lease: HeldLease, revise: Revise) -> list[Revision]:
    assignment = Assignment(
        stage=stage,
        settings=settings,
        launcher=Launcher.PROCESS,
        title=f"republish {stage.name}",
        display=run_display(),
    )
    said = io.StringIO()
    with (
        held_inputs(assignment, store) as inputs,
        in_hub_environment(stage),
        tempfile.TemporaryDirectory(prefix="miniseries-") as folder,
    ):
        output, scratch = Path(folder) / "output", Path(folder) / "scratch"
        output.mkdir()
        scratch.mkdir()
        context: StageContext[Any] = StageContext(
            name=stage.name,
            key=stage.key,
            identity=stage.identity,
            inputs=inputs.folders,
            output=output,
            scratch=scratch,
            checkpoints=store.progress(stage.address, lease.token),
            report=Reporter(said),
            runtime=settings.runtime,
        )
        try:
            return revise(context)
        finally:
            for line in said.getvalue().splitlines():
                if isinstance(text := parse(line), str):
                    assignment.display.say(f"{assignment.title}: {text}")
