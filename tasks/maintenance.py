"""The tasks of a night's maintenance: read a share of the store, make one small stage again, look for garbage.

What is made again is made in a store of its own, in a temporary folder, from the inputs of the real one: whatever
comes of it, nothing of it can be committed over what is there.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from artifacts.errors import StoreUnavailable
from artifacts.lease import HeldLease
from artifacts.store import Store
from core.maintenance.recomputation import LOSSES, Candidate, Comparison, candidates, choose, compare
from core.maintenance.report import GarbageReport, Recomputation
from core.maintenance.rotation import Share, verify_share
from core.planning.collection import DAY, Terms, delete_expired
from core.planning.garbage import survey_garbage
from core.planning.stream_length import measured_by, packed_by_manifest
from core.planning.title import unique_title
from core.stages.unread import unread_files
from tasks.devices import visible_gpus
from tasks.launch import Launcher
from tasks.perform import Assignment, Inputs, make_in
from tasks.settings import RunSettings, settings_from_environment
from tasks.stage_task import run_display
from tasks.stopping import stop_event


@dataclass(frozen=True, kw_only=True)
class Night:
    """What is to be done."""

    verify_bytes: float
    recompute_seconds: float
    seed: int | None  # of the choice; None: the day
    window_days: float
    collect: bool  # delete what was marked longer ago than the window


def verify_night(night: Night) -> Share:
    """Read the next share of the store. Raises `StoreError`."""
    display = run_display()
    return verify_share(_store(), night.verify_bytes, lambda folder: display.say(f"verify {folder}"))


def recompute_night(night: Night) -> Recomputation:
    """Make one small training stage again and compare. Raises `StageError`, `StageFailed`, `StoreError`."""
    settings = settings_from_environment()
    store, gpus = settings.open_store(), visible_gpus()
    found = candidates(store, len(gpus), night.recompute_seconds)
    chosen = choose(found, datetime.now(UTC).toordinal() if night.seed is None else night.seed)
    comparison = None if chosen is None else _made_again(chosen, settings, store, gpus)
    return Recomputation(comparison=comparison, candidates=len(found), limit_seconds=night.recompute_seconds)


def garbage_night(night: Night) -> GarbageReport:
    """Say what could be collected; of what was marked earlier, delete what may go, if asked to. Raises `StoreError`."""
    settings, now = settings_from_environment(), time.time()
    store = settings.open_store()
    survey = survey_garbage(store, now)
    if not night.collect:
        return GarbageReport(survey=survey, collected=None)
    terms = Terms(now=now, window=night.window_days * DAY, lease_seconds=settings.lease_seconds, wait=stop_event().wait)
    return GarbageReport(survey=survey, collected=delete_expired(store, survey, terms))


verify_task, recompute_task, garbage_task = (
    task(
        name=name,
        task_run_name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=2,
        retry_delay_seconds=[10, 60],
        retry_condition_fn=lambda _task, _run, state: isinstance(
            state.result(raise_on_failure=False), StoreUnavailable
        ),
    )(function)
    for name, function in (
        ("verify a share of the store", verify_night),
        ("make one training stage again", recompute_night),
        ("look for garbage", garbage_night),
    )
)


def _store() -> Store:
    return settings_from_environment().open_store()


def _made_again(chosen: Candidate, settings: RunSettings, store: Store, gpus: tuple[str, ...]) -> Comparison:
    stage = measured_by(packed_by_manifest(store))(chosen.stage)
    with tempfile.TemporaryDirectory(prefix="miniseries-maintenance-") as folder, ExitStack() as held:
        assignment = Assignment(
            stage=stage,
            settings=_as_it_was(chosen, settings, Path(folder), gpus),
            launcher=Launcher.TORCHRUN,
            title=f"make again: {unique_title(stage)}",
            display=run_display(),
            devices="" if _is_of_processor(chosen) else None,
            environment=lambda _stage: _threads(chosen),
            stop=stop_event(),
        )
        folders = {}
        for role, needed in stage.needs.items():
            assignment.check_stop()
            folders[role] = held.enter_context(store.hold(needed.address, without=unread_files(stage.kind, role)))
        scratch = assignment.settings.open_store()
        lease = scratch.leases.acquire(stage.address, purpose=assignment.title, ttl=settings.lease_seconds)
        assert isinstance(lease, HeldLease), "nobody else knows this store"
        with lease.kept_alive(), scratch.attempt(stage.address, lease) as attempt:
            outcome = make_in(attempt, assignment, lease, Inputs(folders, {}))
            losses = store.read_file(chosen.manifest, LOSSES)
            return compare(chosen, attempt.output, outcome.numerics, outcome.metrics, losses)


def _as_it_was(chosen: Candidate, settings: RunSettings, scratch: Path, gpus: tuple[str, ...]) -> RunSettings:
    """Settings that put the stage into the numerics domain it was made in, as far as this machine has it."""
    ranks, rows = chosen.numerics.get("world_size"), chosen.manifest.metrics.get("micro_batch_rows")
    processes = ranks if isinstance(ranks, int) else 1
    if gpus and not _is_of_processor(chosen):
        processes = min(processes, len(gpus))
    runtime = replace(
        settings.runtime,
        processes=processes,
        micro_batch_rows=rows if isinstance(rows, int) else settings.runtime.micro_batch_rows,
        trackers=(),
    )
    return replace(settings, store_url=str(scratch / "store"), runtime=runtime)


def _is_of_processor(chosen: Candidate) -> bool:
    return chosen.numerics.get("device") == "cpu"


def _threads(chosen: Candidate) -> dict[str, str]:
    threads = chosen.numerics.get("threads")
    return {"OMP_NUM_THREADS": str(threads)} if isinstance(threads, int) else {}
