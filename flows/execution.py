"""Going through the stages of one tag or many inside a flow run: each a task run, in the best order, side by side.

Stages run in threads; this thread waits, hears a cancellation, and passes it on to all of them. A failed stage blocks
only what needs it, the rest goes on, and what came of everything is told in the end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State

from artifacts.errors import StoreError
from artifacts.store import Store
from core.planning.catalogue import stages_of
from core.planning.order import Lane, Order, Work
from core.planning.plan import PlannedStage, plan_of
from core.planning.stage import Stage
from core.planning.title import title, unique_title
from core.stages.kind import Resource, StageKind
from flows.packing import Packing, open_packing
from flows.status_artifact import keep_status
from tasks.devices import share
from tasks.display import display_with
from tasks.settings import RunSettings
from tasks.stage_threads import StageThreads
from tasks.table import TASKS

HOST_JOBS = 2  # stages without a GPU at once, packing apart: each uses several cores or waits for a network
NOMINAL_SECONDS = 60.0  # added to every estimate: a stage that costs nothing still takes its turn

Reference = dict[str, Any]

log = logging.getLogger("miniseries.flows")


@dataclass
class Execution:
    """What came of a run: by key, in the order of the plan once it is over."""

    tags: Sequence[str]
    stages: Mapping[str, Stage]
    made: dict[str, Reference] = field(default_factory=dict)
    failed: dict[str, Exception] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)  # key -> key of the failed stage it waited for

    @property
    def complete_tags(self) -> list[str]:
        """The tags of which everything is there."""
        lacking = self.failed.keys() | self.blocked.keys()
        return [tag for tag in self.tags if not lacking & stages_of(tag).keys()]

    @property
    def verdict(self) -> str:
        """What came of it, in one line."""
        complete = self.complete_tags
        if not self.failed:
            return f"complete: {', '.join(complete)}"
        failures = "; ".join(f"{title(self.stages[key])}: {error}" for key, error in self.failed.items())
        return (
            f"{len(self.failed)} of {len(self.stages)} stages failed and {len(self.blocked)} that need them were not "
            f"started, so {len(self.tags) - len(complete)} of {len(self.tags)} tags are not complete; "
            f"complete: {', '.join(complete) or 'none'}; failed: {failures}"
        )


def execute(tags: Sequence[str], settings: RunSettings) -> Execution:
    """Bring about every stage of `tags`, shared ones once. Raises what asks the whole run to end (a signal, a closed
    pipe); failures of stages are in what it returns.
    """
    store = settings.open_store()
    store.check_writable()
    plan = plan_of(tags, store)
    passed = [planned for planned in plan.stages if planned.progress.needed or planned.progress.state == "cached"]
    execution = Execution(plan.tags, {planned.stage.key: planned.stage for planned in passed})
    works = [_work(planned) for planned in passed]
    owners = {planned.stage.key: planned.tags[0] for planned in passed}
    keep_status(plan.tags, store)
    with open_packing(settings, store, sum(work.lane is Lane.PACK for work in works)) as packing:
        order = Order(works, {Lane.GPU: settings.gpu_jobs, Lane.HOST: HOST_JOBS, Lane.PACK: packing.at_once})
        _Runner(execution, order, owners, settings, store, packing).run()
    made = {key: execution.made[key] for key in execution.stages if key in execution.made}
    execution = replace(execution, made=made, blocked=order.blocked)
    keep_status(plan.tags, store, execution.verdict)
    return execution


def _work(planned: PlannedStage) -> Work:
    """What exists is only looked at: that waits for nothing and takes no GPU."""
    stage = planned.stage
    if not planned.progress.needed:
        return Work(key=stage.key, needs=frozenset(), lane=Lane.HOST, seconds=0.0)
    return Work(
        key=stage.key,
        needs=frozenset(need.key for need in stage.needs.values()),
        lane=_lane(stage),
        seconds=NOMINAL_SECONDS + 3600 * planned.remaining.gpu_hours,
    )


def _lane(stage: Stage) -> Lane:
    if stage.kind is StageKind.PACK:
        return Lane.PACK
    return Lane.GPU if stage.definition.resource is Resource.GPU else Lane.HOST


class _Runner:
    """Starts what the order says, and tells it what ended."""

    def __init__(
        self,
        execution: Execution,
        order: Order,
        owners: Mapping[str, str],
        settings: RunSettings,
        store: Store,
        packing: Packing,
    ) -> None:
        self._execution = execution
        self._order = order
        self._owners = owners
        self._settings = settings
        self._store = store
        self._packing = packing
        self._states: dict[str, State[Any]] = {}

    def run(self) -> None:
        """Return when nothing runs and nothing can start any more."""
        with StageThreads[State[Any]](self._settings.grace_seconds) as threads:
            while True:
                while (work := self._order.next(self._is_held)) is not None:
                    threads.start(work.key, self._task(work, self._order.start(work.key)))
                if self._order.is_over:
                    return
                self._note(*threads.next_ended())

    def _is_held(self, work: Work) -> bool:
        """Whether another run is making the stage now; what exists already is not worth asking about.

        A store that is away for a moment must not end what runs: the stage itself tries again, and then says so.
        """
        stage = self._execution.stages[work.key]
        try:
            return work.seconds > 0 and self._store.holder_of(stage.address) is not None
        except StoreError as error:
            log.warning("who makes %s could not be read: %s", stage.address, error)
            return False

    def _task(self, work: Work, slot: int) -> Callable[[], Any]:
        """The task run of a stage; it is shown to follow those of its needs."""
        stage = self._execution.stages[work.key]
        wait_for = [self._states[need] for need in sorted(work.needs) if need in self._states]
        if work.lane is Lane.PACK:
            return partial(self._packing.pack, self._owners[stage.key], stage, wait_for)
        return partial(
            TASKS[stage.kind],
            self._owners[stage.key],
            stage.key,
            unique_title(stage),
            share(slot, self._settings.gpu_jobs) if work.lane is Lane.GPU else None,
            return_state=True,
            wait_for=wait_for,
        )

    def _note(self, key: str, state: State[Any]) -> None:
        self._states[key] = state
        if state.is_completed():
            self._execution.made[key] = state.result()
            self._order.finish(key)
            return
        error = state.result(raise_on_failure=False)
        assert isinstance(error, Exception), state  # a stage is stopped only when nobody notes ends any more
        if isinstance(error, BrokenPipeError):
            raise error  # nobody listens any more: not a failure of the stage
        self._execution.failed[key] = error
        blocked = self._order.fail(key)
        behind = f"; {len(blocked)} stages that need it are left out" if blocked else ""
        display_with(get_run_logger()).say(f"{title(self._execution.stages[key])}: {error}{behind}")  # type: ignore[arg-type]
