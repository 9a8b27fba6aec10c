"""Going through the stages of one tag or many inside a flow run: each a task run, in the best order, side by side.

Stages run in threads; this thread waits, hears a cancellation, and passes it on to all of them. A failed stage blocks
only what needs it, the rest goes on, and what came of everything is told in the end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State

from artifacts.errors import StoreError
from artifacts.store import Store
from core.planning.agenda import Agenda
from core.planning.catalogue import stages_of
from core.planning.order import Lane, Order, Work
from core.planning.plan import plan_of
from core.planning.stage import Stage
from core.planning.title import title, unique_title
from core.stages.kind import StageKind
from flows.packing import Packing, open_packing
from flows.status_artifact import keep_status
from flows.supervision import supervision
from tasks.devices import share
from tasks.dispatch.dispatch import check_dispatch
from tasks.dispatch.turn import in_turn
from tasks.display import display_with
from tasks.settings import RunSettings
from tasks.stage_threads import StageThreads
from tasks.table import TASKS

HOST_JOBS = 2  # stages without a GPU at once, packing apart: each uses several cores or waits for a network

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
    def listing(self) -> dict[str, Any]:
        """What the state of a flow run of many tags carries."""
        failed = {key: str(error) for key, error in self.failed.items()}
        return {"stages": self.made, "failed": failed, "blocked": self.blocked}

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


def execute(tags: Sequence[str], settings: RunSettings, until: str | None = None) -> Execution:
    """Bring about every stage of `tags`, shared ones once; with `until`, only what that deliverable needs.

    Raises what asks the whole run to end (a signal, a closed pipe, a supervisor that died); failures of stages are in
    what it returns.
    """
    store = settings.open_store()
    store.check_writable()
    plan = plan_of(tags, store, until=until)
    agenda = Agenda(plan)
    if any(work.lane is Lane.GPU for work in agenda.works(groups_ahead=1)):
        check_dispatch(settings)
    execution = Execution(plan.tags, agenda.stages)
    keep_status(plan.tags, store)
    needed = (planned.stage.address.folder for planned in plan.stages)
    with (
        store.running_plans.running(needed, f"run {' '.join(plan.tags)}"),
        open_packing(settings, store, agenda.groups_to_pack) as packing,
    ):
        blocked = _Runner(execution, agenda, settings, store, packing).run()
    made = {key: execution.made[key] for key in agenda.stages if key in execution.made}
    execution = replace(execution, stages=agenda.stages, made=made, blocked=blocked)
    keep_status(plan.tags, store, execution.verdict)
    return execution


class _Runner:
    """Starts what the order says, and tells it what ended."""

    def __init__(
        self,
        execution: Execution,
        agenda: Agenda,
        settings: RunSettings,
        store: Store,
        packing: Packing,
    ) -> None:
        self._execution = execution
        self._agenda = agenda
        # one group is downloaded while the others are packed; by the first half it is known how many there must be
        self._groups_ahead = min(packing.at_once + 1, max(2, agenda.groups_to_pack // 2))
        limits = {Lane.GPU: settings.gpu_jobs, Lane.HOST: HOST_JOBS, Lane.PACK: packing.at_once}
        self._order = Order(agenda.works(self._groups_ahead), limits)
        self._began = datetime.now(UTC)
        self._settings = settings
        self._is_inline = settings.dispatch == "inline"  # otherwise who makes a heavy stage has GPUs of its own
        self._store = store
        self._packing = packing
        self._states: dict[str, State[Any]] = {}

    def run(self) -> dict[str, str]:
        """Return when nothing runs and nothing can start any more: what is blocked, and the failed stage behind it."""
        with StageThreads[State[Any]](self._settings.grace_seconds, supervision()) as threads:
            while True:
                while (work := self._order.next(self._is_held)) is not None:
                    threads.start(work.key, self._task(work, self._order.start(work.key)))
                if self._order.is_over:
                    return self._order.blocked
                self._note(*threads.next_ended())

    def _is_held(self, work: Work) -> bool:
        """Whether another run is making the stage now; what exists already is not worth asking about.

        A store that is away for a moment must not end what runs: the stage itself tries again, and then says so.
        """
        stage = self._agenda.stages[work.key]
        try:
            return work.seconds > 0 and self._store.holder_of(stage.address) is not None
        except StoreError as error:
            log.warning("who makes %s could not be read: %s", stage.address, error)
            return False

    def _task(self, work: Work, slot: int) -> Callable[[], Any]:
        """The task run of a stage; it is shown to follow those of its needs."""
        stage = self._agenda.stages[work.key]
        wait_for = [self._states[need] for need in sorted(work.needs) if need in self._states]
        if work.lane is Lane.PACK:
            return partial(self._packing.pack, self._agenda.owners[stage.key], stage, wait_for)
        task = partial(
            TASKS[stage.kind],
            self._agenda.owners[stage.key],
            stage.key,
            unique_title(stage),
            share(slot, self._settings.gpu_jobs) if work.lane is Lane.GPU and self._is_inline else None,
            return_state=True,
            wait_for=wait_for,
        )
        return partial(in_turn, self._due(work), task)

    def _due(self, work: Work) -> datetime:
        """When the stage is due where it stands in a queue: the longest remaining path first, whenever it is ready.

        An hour of that path counts as a minute: runs that begin within minutes go in the order of one plan, and none
        waits long for one that began later.
        """
        return self._began - timedelta(seconds=self._order.remaining(work.key) / 60)

    def _note(self, key: str, state: State[Any]) -> None:
        self._states[key] = state
        if state.is_completed():
            self._execution.made[key] = reference = state.result()
            self._order.finish(key)
            if self._agenda.stages[key].kind is StageKind.PACK:
                self._revise(key, reference["metrics"]["rows"])
            return
        error = state.result(raise_on_failure=False)
        assert isinstance(error, Exception), state  # a stage is stopped only when nobody notes ends any more
        if isinstance(error, BrokenPipeError):
            raise error  # nobody listens any more: not a failure of the stage
        self._execution.failed[key] = error
        blocked = self._order.fail(key)
        behind = f"; {len(blocked)} stages that need it are left out" if blocked else ""
        display_with(get_run_logger()).say(f"{title(self._agenda.stages[key])}: {error}{behind}")  # type: ignore[arg-type]

    def _revise(self, key: str, rows: int) -> None:
        """Give up the shard groups that are not needed now that `key` has `rows` rows, and add those that are."""
        if self._agenda.note_rows(key, rows, self._order.waiting):
            self._order.revise(self._agenda.works(self._groups_ahead))
