"""How any stage is brought about: look it up, or hold its lease and make it, or wait for who does.

The store decides what is cached; Prefect only displays it. A stage is made by one holder at a time: its
lease is renewed while the child runs, the child is stopped when the lease is lost, and the commit is one
conditional create after the lease was confirmed, so a holder that was replaced cannot commit.
"""

from __future__ import annotations

import socket
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from artifacts.encoding import canonical
from artifacts.errors import LeaseLost
from artifacts.lease import HeldLease
from artifacts.manifest import Manifest
from artifacts.provenance import capture
from artifacts.store import Attempt, Store
from core.planning.stage import Stage
from core.stages.report import Progress, parse
from core.stages.specification import Outcome, Specification, read_outcomes
from tasks.display import Display
from tasks.launch import Launcher, command
from tasks.settings import RunSettings
from tasks.supervise import supervise

State = Literal["cached", "reused", "made"]
WAIT_SECONDS = 1.0  # between looks at a stage that somebody else is making
TAIL_LINES = 40


class StageFailed(Exception):
    """A stage ended without its artifact, and running it again will end the same way: one line for its user."""


class StageInterrupted(StageFailed):
    """A stage was stopped or its process died; the next run continues from what it had checkpointed."""


@dataclass(frozen=True, kw_only=True)
class Performed:
    """A stage that exists now. `reused`: somebody else made it while we waited."""

    state: State
    manifest: Manifest
    seconds: float


def perform(stage: Stage, settings: RunSettings, launcher: Launcher, title: str, display: Display) -> Performed:
    """Return the stage's artifact, made if need be.

    Raises `StageFailed` with one line, `StageInterrupted` when trying again is worth while, and
    `artifacts.errors.StoreError` when the store refuses or an input is damaged.
    """
    started = time.monotonic()
    store = settings.open_store()
    manifest = store.whole_manifest(stage.address)
    if manifest is not None:
        seconds = time.monotonic() - started
        display.end(title, "cached", seconds, "")
        return Performed(state="cached", manifest=manifest, seconds=seconds)
    waited = _lease_or_manifest(store, stage, settings, title, display)
    if isinstance(waited, Manifest):
        seconds = time.monotonic() - started
        display.end(title, "reused", seconds, "made by another run")
        return Performed(state="reused", manifest=waited, seconds=seconds)
    display.begin(title)
    state = "failed"
    try:
        with waited.kept_alive():
            manifest = _make(store, stage, settings, launcher, waited, display)
        state = "made"
    finally:
        display.end(title, state, time.monotonic() - started, "")
        waited.release()
    return Performed(state="made", manifest=manifest, seconds=time.monotonic() - started)


def _lease_or_manifest(
    store: Store, stage: Stage, settings: RunSettings, title: str, display: Display
) -> HeldLease | Manifest:
    """Wait until the stage is ours to make, or made."""
    announced = None
    while True:
        lease = store.leases.acquire(stage.address, purpose=title, ttl=settings.lease_seconds)
        if isinstance(lease, HeldLease):
            manifest = store.whole_manifest(stage.address)
            if manifest is None:
                return lease
            lease.release()
            return manifest
        if lease.description != announced:
            announced = lease.description
            display.say(f"{title}: waiting for {announced}")
        time.sleep(WAIT_SECONDS)
        if (manifest := store.whole_manifest(stage.address)) is not None:
            return manifest


def _make(
    store: Store, stage: Stage, settings: RunSettings, launcher: Launcher, lease: HeldLease, display: Display
) -> Manifest:
    inputs = {role: store.fetch(needed.address) for role, needed in stage.needs.items()}
    store.discard(stage.address, lease)
    with store.attempt(stage.address, lease) as attempt:
        specification = _specification(stage, settings, inputs, attempt, lease)
        provenance = capture()
        began = time.time()
        outcome = _run_child(stage, specification, settings, launcher, lease, display)
        return attempt.commit(
            stage_version=stage.definition.version,
            identity=canonical(stage.identity),
            inputs={role: needed.key for role, needed in stage.inputs.items()},
            metrics=outcome.metrics,
            provenance={
                **provenance,
                "numerics": outcome.numerics,
                "started": began,
                "finished": time.time(),
                "observed": {role: needed.key for role, needed in stage.observed.items()},
            },
        )


def _specification(
    stage: Stage, settings: RunSettings, inputs: Mapping[str, Path], attempt: Attempt, lease: HeldLease
) -> Specification:
    identity = canonical(stage.identity)
    assert isinstance(identity, dict)
    return Specification(
        kind=stage.kind,
        name=stage.name,
        key=stage.key,
        identity=identity,
        inputs={role: str(path) for role, path in inputs.items()},
        output=str(attempt.output),
        scratch=str(attempt.scratch),
        store=attempt.store_url,
        token=lease.token,
        runtime=settings.runtime,
    )


def _run_child(
    stage: Stage,
    specification: Specification,
    settings: RunSettings,
    launcher: Launcher,
    lease: HeldLease,
    display: Display,
) -> Outcome:
    """Run the child to its end and return its outcome; raise what its user should read otherwise."""
    log = _log_path(stage, lease)
    tail: deque[str] = deque(maxlen=TAIL_LINES)

    def line(text: str) -> None:
        told = parse(text)
        if isinstance(told, Progress):
            display.advance(told)
        elif told is not None:
            display.say(told)
        if text.strip() and not isinstance(told, Progress):
            tail.append(text)

    def watch() -> None:
        if lease.lost.is_set():
            raise LeaseLost(
                f"{stage.address}: another run took this stage over; its child was stopped, nothing was committed"
            )

    with tempfile.TemporaryDirectory(prefix="miniseries-") as folder:
        path = Path(folder) / "specification.json"
        specification.write(path)
        code = supervise(
            command(launcher, path, settings.runtime.processes),
            log=log,
            grace_seconds=settings.grace_seconds,
            family=lease.record_processes,
            line=line,
            watch=watch,
        )
        outcomes = read_outcomes(Path(folder))
    return _judge(stage, code, outcomes, tail, log)


def _judge(stage: Stage, code: int, outcomes: list[Outcome], tail: deque[str], log: Path) -> Outcome:
    """The outcome of rank 0 when all went well; otherwise the first failure, which is the cause of the others."""
    for outcome in outcomes:
        if outcome.status == "failed":
            raise StageFailed(f"{stage.address}: {outcome.error} (log: {log})")
    finished = [outcome for outcome in outcomes if outcome.status == "finished" and outcome.rank == 0]
    if finished and code == 0:
        return finished[0]
    last = f"; last line: {tail[-1].strip()}" if tail else ""
    raise StageInterrupted(
        f"{stage.address}: its process ended early (exit code {code}){last}; "
        f"run the same command again to continue from its last checkpoint (log: {log})"
    )


def _log_path(stage: Stage, lease: HeldLease) -> Path:
    folder = Path(platformdirs.user_log_dir("miniseries")) / stage.kind.value
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{stage.name}-{stage.key[:12]}-{socket.gethostname()}-{lease.attempt}.log"
