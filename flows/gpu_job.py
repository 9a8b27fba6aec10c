"""The flow that the GPU work pool runs: one heavy stage, here and now, for whoever created the run.

Guarantees: it never delegates its stage again, whatever its environment says; it never waits for another run's lease
while it has a GPU, but ends as Held; it ends as Interrupted when another attempt is worth while, and as Failed with one
line when it is not; it never trains on where nobody can cancel it (`flows.supervision`).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from artifacts.errors import StoreError
from artifacts.lease_record import Holder
from artifacts.store import Store
from core.planning.catalogue import stage_of_key
from core.planning.stage import Stage
from core.planning.stream_length import measured_by, packed_by_manifest
from core.planning.title import unique_title
from core.recipes.recipe import RecipeError
from flows.crash_loop import require_no_crash_loop
from flows.supervision import supervision
from flows.task_run_endings import end_as_cancelled, end_as_crashed, end_those_of_earlier_attempts
from tasks.dispatch.dispatch import brought_about_by
from tasks.dispatch.gpu_pool import HELD, INTERRUPTED
from tasks.pack import require_shared_store
from tasks.perform import PASSING, Assignment, Performed, StageFailed, StageStopped, perform
from tasks.settings import RunSettings, settings_from_environment
from tasks.stage_threads import StageThreads
from tasks.table import TASKS

TTLS_OF_PATIENCE = 2  # after which a lease is either proved abandoned or renewed by a machine with another clock


def _run_name() -> str:
    """The stage's title; the parameters where this worker does not know the stage."""
    parameters = runtime.flow_run.parameters
    try:
        return unique_title(stage_of_key(parameters["tag"], parameters["key"]))
    except RecipeError:
        return f"{parameters['tag']} {parameters['key'][:8]}"


@flow(
    name="gpu-job",
    flow_run_name=_run_name,
    persist_result=False,
    validate_parameters=False,
    on_cancellation=[end_as_cancelled],
    on_crashed=[end_as_crashed],
)
def gpu_job(tag: str, key: str) -> State[Any]:
    """Make the stage with this key, which `tag` has. Flow runs create runs of this one; people may too."""
    try:
        require_no_crash_loop()
        end_those_of_earlier_attempts()
        settings = settings_from_environment()
        stage, store = _known_stage(tag, key), settings.open_store()
        if (holder := store.holder_of(stage.address)) is not None:
            return Completed(name=HELD, message=_making(stage, holder))
        require_shared_store(measured_by(packed_by_manifest(store))(stage), store)
    except (StoreError, StageFailed) as error:
        return _failed(error)
    return _ending(_state_of(tag, stage, settings, store))


def _known_stage(tag: str, key: str) -> Stage:
    try:
        return stage_of_key(tag, key)
    except RecipeError as error:
        raise StageFailed(
            f"the worker on {socket.gethostname()} knows no stage {key[:12]} of {tag}; it needs the version of "
            "miniseries, the series files in MINISERIES_SERIES and the digest in MINISERIES_CORE_BUNDLE of who created "
            "this run"
        ) from error


def _state_of(tag: str, stage: Stage, settings: RunSettings, store: Store) -> State[Any]:
    """The state in which the stage's task run ends. A thread makes the stage, since this one hears the signals."""
    task: Callable[[], Any] = partial(TASKS[stage.kind], tag, stage.key, unique_title(stage), return_state=True)
    with (
        brought_about_by(_Impatient(store, settings.lease_seconds)),
        StageThreads[State[Any]](settings.grace_seconds, supervision()) as threads,
    ):
        threads.start(stage.key, task)
        return threads.next_ended()[1]


def _ending(state: State[Any]) -> State[Any]:
    """The state of the flow run, as `tasks.dispatch.gpu_pool` understands it."""
    if state.is_completed():
        return Completed(name=state.name, message=state.message, data=state.result())
    if state.is_cancelled():  # the stage stopped by itself: had this run been asked to stop, we would not be here
        return Completed(name=HELD, message=state.message)
    error = state.result(raise_on_failure=False)
    assert isinstance(error, Exception), state
    return _failed(error)


def _failed(error: Exception) -> State[Any]:
    return Failed(name=INTERRUPTED if isinstance(error, PASSING) else "Failed", message=str(error))


def _making(stage: Stage, holder: Holder) -> str:
    return f"{stage.address} is being made by {holder.description}"


@dataclass
class _Impatient:
    """Performs a stage unless another run holds its lease.

    One that has run out is waited for: on another machine it takes a ttl to be sure that its holder is gone.
    """

    store: Store
    lease_seconds: float
    waiting_since: float = field(default_factory=time.monotonic)

    def __call__(self, assignment: Assignment) -> Performed:
        return perform(replace(assignment, when_held=partial(self._when_held, assignment.stage)))

    def _when_held(self, stage: Stage, holder: Holder) -> None:
        """Raise `StageStopped` when the lease is alive."""
        waited = time.monotonic() - self.waiting_since
        if self.store.holder_of(stage.address) is not None or waited > TTLS_OF_PATIENCE * self.lease_seconds:
            raise StageStopped(_making(stage, holder))
