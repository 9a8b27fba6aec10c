"""A flow of nothing but packing. In a module of its own: the workers of a cluster import it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from artifacts.store import Store
from core.planning.stage import Stage
from flows.packing import open_packing
from tasks.settings import RunSettings
from tasks.stage_threads import StageThreads


@flow(name="pack_groups", persist_result=False, validate_parameters=False)
def pack_groups(tag: str, stages: Sequence[Stage], settings: RunSettings, store: Store) -> dict[str, Any]:
    """Hand all groups over at once; what each ended with, a reference or an error, by key."""
    ended: dict[str, Any] = {}
    with open_packing(settings, store, len(stages)) as packing, StageThreads[State[Any]](5.0) as threads:
        for stage in stages:
            threads.start(stage.key, partial(packing.pack, tag, stage, []))
        for _ in stages:
            key, state = threads.next_ended()
            ended[key] = state.result(raise_on_failure=False)
    return ended
