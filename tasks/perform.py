"""How any stage is brought about: look it up, or hold its lease and make it, or wait for who does.

The store decides what is cached; Prefect only displays it. A stage is made by one holder at a time: its
lease is renewed while the child runs, the child is stopped when the lease is lost, and the commit is one
conditional create after the lease was confirmed, so a holder that was replaced cannot commit.
Many stages are performed at once, each in a thread of its own: threads hear no signal, so who asks them to stop sets
an event, and each lets its child checkpoint before it ends.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import platformdirs

from artifacts.encoding import canonical
from artifacts.errors import AlreadyCommitted, LeaseLost, StoreError, StoreUnavailable
from artifacts.lease import HeldLease
from artifacts.lease_record import Holder
from artifacts.manifest import Manifest
from artifacts.provenance import capture
from artifacts.redaction import redact
from artifacts.store import Attempt, Store
from core.lineage.ancestry import gathered_lineage
from core.lineage.lineage import LINEAGE_READERS, LINEAGE_ROLE
from core.planning.actual import estimate_metrics
from core.planning.stage import Stage
from core.planning.stream_length import measured_by, packed_by_manifest
from core.stages.report import Measured, Progress, parse
from core.stages.specification import Outcome, Specification, read_outcomes
from core.stages.streamed import StreamedArtifact
from core.stages.unread import unread_files
from tasks.devices import VISIBLE
from tasks.display import Display
from tasks.launch import Launcher, command
from tasks.machines import SPECIFICATION, Place, Posted, launch_folder
from tasks.settings import RunSettings
from tasks.streams import streamed_artifacts
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


PASSING = (StageInterrupted, StoreUnavailable, LeaseLost)  # a stage that was lost to another run is waited for


class StageStopped(BaseException):
    """A stage was asked to stop. Not an `Exception`: nothing on the way may take it for a failure and try again."""


@dataclass(frozen=True, kw_only=True)
class Performed:
    """A stage that exists now. `reused`: somebody else made it while we waited."""

    state: State
    manifest: Manifest
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One stage to be brought about, what with, and who is told."""

    stage: Stage
    settings: RunSettings
    launcher: Launcher
    title: str
    display: Display
    devices: str | None = None  # GPUs that its processes see, as CUDA_VISIBLE_DEVICES; None: all
    environment: Callable[[Stage], Mapping[str, str]] = lambda _stage: {}  # of its process besides ours: secrets
    stop: threading.Event = field(default_factory=threading.Event)
    when_held: Callable[[Holder], None] = lambda _holder: None  # at each look at a lease of another; may raise

    def check_stop(self) -> None:
        """Raise `StageStopped` once stopping was asked for."""
        if self.stop.is_set():
            raise StageStopped(f"{self.stage.address}: stopped; the next run continues from its last checkpoint")

    def pause(self) -> None:
        """Wait a moment for what somebody else is doing. Raises `StageStopped`."""
        self.stop.wait(WAIT_SECONDS)
        self.check_stop()


@dataclass(frozen=True)
class Inputs:
    """What a stage is made from, by role."""

    folders: Mapping[str, Path]  # of verified files
    streamed: Mapping[str, StreamedArtifact]  # fetched by the stage itself


def perform(assignment: Assignment) -> Performed:
    """Return the stage's artifact, made if need be.

    Raises `StageFailed` with one line, `StageInterrupted` when trying again is worth while, `StageStopped` when asked
    to before its process was done, `artifacts.errors.StoreError` when the store refuses or an input is damaged, and
    `OSError` when this machine's own disk does.
    """
    assignment.check_stop()
    started = time.monotonic()
    title, display = assignment.title, assignment.display
    store = assignment.settings.open_store()
    store.trash.keep(assignment.stage.address, assignment.settings.lease_seconds, assignment.pause)
    manifest = store.whole_manifest(assignment.stage.address)
    if manifest is not None:
        seconds = time.monotonic() - started
        display.end(title, "cached", seconds, "")
        return Performed(state="cached", manifest=manifest, seconds=seconds)
    waited = _lease_or_manifest(assignment, store)
    if isinstance(waited, Manifest):
        seconds = time.monotonic() - started
        display.end(title, "reused", seconds, "made by another run")
        return Performed(state="reused", manifest=waited, seconds=seconds)
    ending = "stopped"
    try:
        display.begin(title)
        with waited.kept_alive():
            state, manifest = _made_or_reused(assignment, store, waited)
        ending = state
    except Exception:
        ending = "failed"
        raise
    finally:
        waited.release()  # before anything is shown: a terminal that went away must not keep the lease
        display.end(title, ending, time.monotonic() - started, "")
    return Performed(state=state, manifest=manifest, seconds=time.monotonic() - started)


def _lease_or_manifest(assignment: Assignment, store: Store) -> HeldLease | Manifest:
    """Wait until the stage is ours to make, or made."""
    stage, announced = assignment.stage, None
    while True:
        lease = store.leases.acquire(stage.address, purpose=assignment.title, ttl=assignment.settings.lease_seconds)
        if isinstance(lease, HeldLease):
            return _manifest_after_all(store, stage, lease) or lease
        if lease.description != announced:
            announced = lease.description
            assignment.display.say(f"{assignment.title}: waiting for {announced}")
        assignment.when_held(lease)
        assignment.pause()
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


def _made_or_reused(assignment: Assignment, store: Store, lease: HeldLease) -> tuple[State, Manifest]:
    """Make the stage; when another run was first to commit all the same, its artifact serves."""
    try:
        return "made", _make(assignment, store, lease)
    except AlreadyCommitted:
        manifest = store.whole_manifest(assignment.stage.address)
        if manifest is None:
            raise
        return "reused", manifest


def _make(assignment: Assignment, store: Store, lease: HeldLease) -> Manifest:
    """Make the stage from what it needs; of the groups of a stream, from those that hold its rows."""
    stage = measured_by(packed_by_manifest(store))(assignment.stage)
    assignment = replace(assignment, stage=stage)
    with held_inputs(assignment, store) as inputs:
        store.discard(stage.address, lease)
        with store.attempt(stage.address, lease) as attempt:
            return _committed(assignment, store, lease, inputs, attempt)


@contextmanager
def held_inputs(assignment: Assignment, store: Store) -> Iterator[Inputs]:
    """What the stage needs; what is not streamed is brought to local disk and stays there while the block runs."""
    streamed, folders = streamed_artifacts(assignment.stage, store), {}
    with ExitStack() as held:
        for role, needed in assignment.stage.needs.items():
            assignment.check_stop()
            if role not in streamed:
                unread = unread_files(assignment.stage.kind, role)
                folders[role] = held.enter_context(store.hold(needed.address, without=unread))
        if assignment.stage.kind in LINEAGE_READERS:
            folders[LINEAGE_ROLE] = held.enter_context(gathered_lineage(assignment.stage, store))
        yield Inputs(folders, streamed)


def make_in(attempt: Attempt, assignment: Assignment, lease: HeldLease, inputs: Inputs) -> Outcome:
    """Have processes make the stage into the attempt's output; nothing is committed. Raises what `perform` raises."""
    stage = assignment.stage
    specification = _specification(stage, assignment.settings, inputs, attempt, lease)
    try:
        return _run_child(assignment, specification, lease)
    finally:
        attempt.keep_log(_log_path(stage, lease))


def _committed(assignment: Assignment, store: Store, lease: HeldLease, inputs: Inputs, attempt: Attempt) -> Manifest:
    stage = assignment.stage
    provenance = capture()
    began = time.time()
    outcome = make_in(attempt, assignment, lease, inputs)
    return attempt.commit(
        stage_version=stage.definition.version,
        identity=canonical(stage.identity),
        inputs={role: needed.key for role, needed in stage.inputs.items()},
        metrics={**outcome.metrics, **_estimate(stage, outcome, store)},
        provenance={
            **provenance,
            "numerics": outcome.numerics,
            "started": began,
            "finished": time.time(),
            "observed": {role: needed.key for role, needed in stage.observed.items()},
        },
    )


def _estimate(stage: Stage, outcome: Outcome, store: Store) -> dict[str, object]:
    """What a plan says of the stage on the device that made it. No record of a speed is worth losing the stage for."""
    try:
        return estimate_metrics(stage, str(outcome.numerics.get("device", "")), store)
    except StoreError as error:
        log.warning("%s is committed without an estimate of its time: %s", stage.address, error)
        return {}


def _specification(
    stage: Stage, settings: RunSettings, inputs: Inputs, attempt: Attempt, lease: HeldLease
) -> Specification:
    identity = canonical(stage.identity)
    assert isinstance(identity, dict)
    return Specification(
        kind=stage.kind,
        name=stage.name,
        key=stage.key,
        identity=identity,
        inputs={role: str(path) for role, path in inputs.folders.items()},
        streamed=inputs.streamed,
        output=str(attempt.output),
        scratch=str(attempt.scratch),
        store=attempt.store_url,
        token=lease.token,
        runtime=settings.runtime,
    )


def _run_child(assignment: Assignment, specification: Specification, lease: HeldLease) -> Outcome:
    """Run the child to its end and return its outcome; raise what its user should read otherwise."""
    stage, settings = assignment.stage, assignment.settings
    output = _log_path(stage, lease)
    child = _Child(assignment, lease)
    machines = settings.machines if assignment.launcher is Launcher.TORCHRUN else None
    with launch_folder(machines) as folder:
        path = folder / SPECIFICATION
        specification.write(path)
        others = None if machines is None else Posted(machines, folder, settings.runtime.processes, output, child.say)
        place = None if others is None else others.place
        try:
            code = supervise(
                command(assignment.launcher, path, settings.runtime.processes, place),
                log=output,
                environment={**_visible(assignment.devices), **_placed(place), **assignment.environment(stage)},
                grace_seconds=settings.grace_seconds,
                family=child.record,
                line=child.hear,
                watch=child.watch if others is None else child.watch_with(others),
            )
        except StageStopped:
            if ("finished", 0) not in {(outcome.status, outcome.rank) for outcome in read_outcomes(folder)}:
                raise
            code = 0  # rank 0, which writes the artifact, was done: to commit it is less than to make it again
        outcomes = read_outcomes(folder)
        if others is not None and not outcomes:
            others.check_complete()
    return _judge(stage, code, outcomes, child.tail, output)


def _visible(devices: str | None) -> Mapping[str, str]:
    return {} if devices is None else {VISIBLE: devices}


def _placed(place: Place | None) -> Mapping[str, str]:
    return {} if place is None else place.environment()


class _Child:
    """What the supervisor of a running stage does with what it hears and sees."""

    def __init__(self, assignment: Assignment, lease: HeldLease) -> None:
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._assignment = assignment
        self._lease = lease

    def hear(self, line: str) -> None:
        """Show progress, measurements and lines for people; remember the last of everything else."""
        told = parse(line)
        if isinstance(told, Progress):
            self._assignment.display.advance(self._assignment.title, told)
            return
        if isinstance(told, Measured):
            self._assignment.display.measure(self._assignment.title, told)
            return
        if told is not None:
            self.say(redact(told))
        if line.strip():
            self.tail.append(line)

    def say(self, line: str) -> None:
        """Show a line about the stage."""
        self._assignment.display.say(f"{self._assignment.title}: {line}")

    def record(self, process_ids: Sequence[int]) -> None:
        """Name the processes in the lease. A store that is away for a moment is no reason to stop them."""
        try:
            self._lease.record_processes(process_ids)
        except StoreUnavailable as error:
            log.warning("the processes of %s were not recorded in its lease: %s", self._lease.address, error)

    def watch(self) -> None:
        """Raise `StageStopped` when that was asked for, `LeaseLost` when another run has taken the stage over."""
        self._assignment.check_stop()
        if self._lease.lost.is_set():
            raise LeaseLost(
                f"{self._lease.address}: another run took this stage over; its child was stopped, nothing was committed"
            )

    def watch_with(self, others: Posted) -> Callable[[], None]:
        """`watch` that also looks at what other machines do."""

        def watch() -> None:
            self.watch()
            others.look()

        return watch


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
    words = next((line.strip() for line in reversed(tail) if any(map(str.isalnum, line))), "")  # not a ruled line
    last = f"; last line: {words}" if words else ""
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
