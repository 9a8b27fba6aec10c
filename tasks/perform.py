"""How any stage is brought about: look it up, or hold its lease and make it, or wait for who does.

The store decides what is cached; Prefect only displays it. A stage is made by one holder at a time: its
lease is renewed while the child runs, the child is stopped when the lease is lost, and the commit is one
conditional create after the lease was confirmed, so a holder that was replaced cannot commit.
"""

from __future__ import annotations

import logging
import signal
import socket
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from artifacts.encoding import canonical
from artifacts.errors import AlreadyCommitted, LeaseLost, StoreUnavailable
from artifacts.lease import HeldLease
from artifacts.manifest import Manifest
from artifacts.provenance import capture
from artifacts.redaction import redact
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

log = logging.getLogger("miniseries.tasks")


class StageFailed(Exception):
    """A stage ended without its artifact, and running it again will end the same way: one line for its user."""

    def __init__(self, message: str) -> None:
        super().__init__(redact(" ".join(message.split())))


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

    Raises `StageFailed` with one line, `StageInterrupted` when trying again is worth while,
    `artifacts.errors.StoreError` when the store refuses or an input is damaged, and `OSError` when this machine's
    own disk does.
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
    ending = "stopped"
    try:
        display.begin(title)
        with waited.kept_alive():
            state, manifest = _made_or_reused(store, stage, settings, launcher, waited, display)
        ending = state
    except Exception:
        ending = "failed"
        raise
    finally:
        waited.release()  # before anything is shown: a terminal that went away must not keep the lease
        display.end(title, ending, time.monotonic() - started, "")
    return Performed(state=state, manifest=manifest, seconds=time.monotonic() - started)


def _lease_or_manifest(
    store: Store, stage: Stage, settings: RunSettings, title: str, display: Display
) -> HeldLease | Manifest:
    """Wait until the stage is ours to make, or made."""
    announced = None
    while True:
        lease = store.leases.acquire(stage.address, purpose=title, ttl=settings.lease_seconds)
        if isinstance(lease, HeldLease):
            return _manifest_after_all(store, stage, lease) or lease
        if lease.description != announced:
            announced = lease.description
            display.say(f"{title}: waiting for {announced}")
        time.sleep(WAIT_SECONDS)
        if (manifest := store.whole_manifest(stage.address)) is not None:
            return manifest


def _manifest_after_all(store: Store, stage: Stage, lease: HeldLease) -> Manifest | None:
    """The manifest if its maker finished between our look and our lease, which is then given back."""
    manifest = None
    try:
        manifest = store.whole_manifest(stage.address)
    except BaseException:
        lease.release()
        raise
    if manifest is not None:
        lease.release()
    return manifest


def _made_or_reused(
    store: Store, stage: Stage, settings: RunSettings, launcher: Launcher, lease: HeldLease, display: Display
) -> tuple[State, Manifest]:
    """Make the stage; when another run was first to commit all the same, its artifact serves."""
    try:
        return "made", _make(store, stage, settings, launcher, lease, display)
    except AlreadyCommitted:
        manifest = store.whole_manifest(stage.address)
        if manifest is None:
            raise
        return "reused", manifest


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
    output = _log_path(stage, lease)
    child = _Child(stage, lease, display)
    with tempfile.TemporaryDirectory(prefix="miniseries-") as folder:
        path = Path(folder) / "specification.json"
        specification.write(path)
        code = supervise(
            command(launcher, path, settings.runtime.processes),
            log=output,
            grace_seconds=settings.grace_seconds,
            family=child.record,
            line=child.hear,
            watch=child.check_lease,
        )
        outcomes = read_outcomes(Path(folder))
    return _judge(stage, code, outcomes, child.tail, output)


class _Child:
    """What the supervisor of a running stage does with what it hears and sees."""

    def __init__(self, stage: Stage, lease: HeldLease, display: Display) -> None:
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._stage = stage
        self._lease = lease
        self._display = display

    def hear(self, line: str) -> None:
        """Show progress and lines for people; remember the last of everything else."""
        told = parse(line)
        if isinstance(told, Progress):
            self._display.advance(told)
            return
        if told is not None:
            self._display.say(redact(told))
        if line.strip():
            self.tail.append(line)

    def record(self, process_ids: Sequence[int]) -> None:
        """Name the processes in the lease. A store that is away for a moment is no reason to stop them."""
        try:
            self._lease.record_processes(process_ids)
        except StoreUnavailable as error:
            log.warning("the processes of %s were not recorded in its lease: %s", self._stage.address, error)

    def check_lease(self) -> None:
        """Raise `LeaseLost` when another run has taken the stage over."""
        if self._lease.lost.is_set():
            raise LeaseLost(
                f"{self._stage.address}: another run took this stage over; its child was stopped, nothing was committed"
            )


def _judge(stage: Stage, code: int, outcomes: list[Outcome], tail: deque[str], log_path: Path) -> Outcome:
    """The outcome of rank 0 when all went well; otherwise the first that did not, which is the cause of the others."""
    again = f"run the same command again to continue from its last checkpoint (log: {log_path})"
    for outcome in outcomes:
        if outcome.status == "failed":
            raise StageFailed(f"{stage.address}: {outcome.error} (log: {log_path})")
        if outcome.status == "interrupted":
            raise StageInterrupted(f"{stage.address}: {outcome.error}; {again}")
    finished = [outcome for outcome in outcomes if outcome.rank == 0]
    if finished and code == 0:
        return finished[0]
    last = f"; last line: {tail[-1].strip()}" if tail else ""
    raise StageInterrupted(f"{stage.address}: its process ended early ({_ending(code)}){last}; {again}")


def _ending(code: int) -> str:
    """An exit code as people know it; who is killed without having asked for it mostly ran out of memory."""
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"{name}, perhaps for lack of memory" if -code == signal.SIGKILL else name


def _log_path(stage: Stage, lease: HeldLease) -> Path:
    folder = Path(platformdirs.user_log_dir("miniseries")) / stage.kind.value
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{stage.name}-{stage.key[:12]}-{socket.gethostname()}-{lease.attempt}.log"
