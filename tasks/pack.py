"""Packing one shard group into rows: CPU, independent of every other group, here or on the worker of a cluster."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import replace

from artifacts.errors import StoreError
from artifacts.store import Store
from core.planning.stage import Stage
from core.stages.kind import StageKind
from tasks.launch import Launcher
from tasks.metrics import number
from tasks.perform import Assignment, StageFailed
from tasks.settings import RunSettings
from tasks.stage_task import Ending, as_task, ending_of, run_display, stage_task

RETRIES = 1


def summary(metrics: Mapping[str, object]) -> str:
    """What a person wants to read beside the finished stage."""
    return f"{number(metrics, 'rows')} rows, {number(metrics, 'tokens')} tokens"


def _perform_on_worker(stage: Stage, settings: RunSettings, title: str) -> Ending:
    """Perform `stage` on this worker, whose own environment knows neither the run's recipes nor its settings.

    Credentials do not travel: the worker takes those of the store from its own environment.
    """
    require_same_version(stage)
    require_shared_store(stage, settings.open_store())
    assignment = Assignment(
        stage=stage, settings=settings, launcher=Launcher.PROCESS, title=title, display=run_display()
    )
    return ending_of(assignment, summary)


def require_same_version(stage: Stage) -> None:
    """Raise `StageFailed` when this installation would make something else of `stage` than who sent it."""
    if replace(stage).key != stage.key:
        raise StageFailed(
            f"{stage.address}: the worker on {socket.gethostname()} has another version of miniseries, which packs "
            "something else; install the same version on every worker"
        )


def require_shared_store(stage: Stage, store: Store) -> None:
    """Raise `StoreError` when `store` holds neither `stage` nor what it is made from: it is not that of the run."""
    if store.manifest(stage.address) is not None:
        return
    for needed in stage.needs.values():
        if store.manifest(needed.address) is None:
            raise StoreError(
                f"{stage.address}: the worker on {socket.gethostname()} finds no {needed.address} in {store.url}; "
                "name a store that all workers share in MINISERIES_STORE: s3://bucket/prefix, or a shared folder"
            )


pack = stage_task(StageKind.PACK, launcher=Launcher.PROCESS, retries=RETRIES, summary=summary)
pack_on_worker = as_task(_perform_on_worker, StageKind.PACK, RETRIES)
