"""A deployed flow run does not outlive who supervises it, nor its own end: it lets its stages checkpoint, and ends.

A run is started by a supervisor (`prefect flow-run execute`, or a worker), which alone can cancel it. When that is
killed, as a worker does to one that is slow to pass a cancellation on, the run would train on where nobody can stop it.
Two signs tell it: its parent process is another than in the beginning, or the server says that the run is cancelled or
has ended. The next attempt continues from the checkpoint.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import httpx
from prefect import runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import Abort, ObjectNotFound
from prefect.states import Cancelled

from tasks.dispatch.cancellation import was_being_cancelled
from tasks.dispatch.gpu_pool import asking
from tasks.dispatch.jobs import SchedulerAway

ASK_SECONDS = 15.0  # between questions to the server
ASK_AGAIN_SECONDS = 1.0  # once the supervisor is gone: whether the run was cancelled decides how it ends
AWAY_SECONDS = 20.0  # that an orphan waits for the server's answer
ANSWER_SECONDS = 5.0
CANCELLING_SECONDS = 60.0  # a supervisor passes a cancellation on at once, kills the run after 30 s, or is deaf


class SupervisorGone(BaseException):
    """Who supervised this run has died. Not an `Exception`: it ends the run as Crashed, so that it is tried again."""


class RunIsOver(Abort):
    """The server has done with this run: it ends and says nothing of how it ended."""


def supervision() -> Callable[[], None]:
    """What a run calls as often as it likes while it waits for its stages; raises `SupervisorGone` or `RunIsOver`.

    Does nothing outside a run of a deployment: who starts a command in a terminal may leave it to itself. Raises
    `RunIsOver` at once in a run that was being cancelled when it was started again; it is Cancelled then.
    """
    if runtime.deployment.id is None or runtime.flow_run.id is None:
        return lambda: None
    flow_run = UUID(runtime.flow_run.id)
    _end_if_cancelled(flow_run)
    return _Supervision(flow_run).look


def _end_if_cancelled(flow_run: UUID) -> None:
    try:
        with _server() as client:
            if not was_being_cancelled(client.read_flow_run_states(flow_run)):
                return
            client.set_flow_run_state(flow_run, Cancelled(message="it was cancelled before it was started again"), True)
    except (SchedulerAway, httpx.HTTPStatusError):
        return  # what the server does not say now, it says later
    raise RunIsOver("it was cancelled before it was started again")


@contextmanager
def _server() -> Iterator[SyncPrefectClient]:
    """For one question. Raises `SchedulerAway`, `httpx.HTTPStatusError`."""
    with asking(), get_client(sync_client=True, httpx_settings={"timeout": ANSWER_SECONDS}) as client:
        yield client


class _Supervision:
    """Remembers who the parent was, and what the server said."""

    def __init__(self, flow_run: UUID) -> None:
        self._flow_run = flow_run
        self._parent = os.getppid()
        self._asked = time.monotonic()
        self._orphan_since: float | None = None
        self._cancelling_since: float | None = None

    def look(self) -> None:
        """See `supervision`."""
        now, is_orphan = time.monotonic(), os.getppid() != self._parent
        if is_orphan:
            self._orphan_since = self._orphan_since or now
        if now - self._asked < (ASK_AGAIN_SECONDS if is_orphan else ASK_SECONDS):
            return
        self._asked = now
        try:
            run = self._run()
        except (SchedulerAway, httpx.HTTPStatusError):
            run = None  # a server that gives no answer, or a strange one, ends nothing
        if run is not None and (self._is_over(run) or (is_orphan and run.state_type is StateType.CANCELLING)):
            raise RunIsOver(f"the server says of this run: {run.state_name}")
        if self._orphan_since is not None and (run is not None or now - self._orphan_since > AWAY_SECONDS):
            raise SupervisorGone(
                f"process {self._parent}, which supervised this run, has died; what was checkpointed is kept"
            )

    def _run(self) -> FlowRun:
        """As the server has it. Raises `SchedulerAway`, `httpx.HTTPStatusError`; `RunIsOver` when it was deleted."""
        try:
            with _server() as client:
                return client.read_flow_run(self._flow_run)
        except ObjectNotFound:
            raise RunIsOver("somebody deleted this run") from None

    def _is_over(self, run: FlowRun) -> bool:
        """Whether nobody wants the run any more. One that was found crashed may just have been slow to say it lives."""
        if run.state_type is StateType.CANCELLING:
            self._cancelling_since = self._cancelling_since or time.monotonic()
            return time.monotonic() - self._cancelling_since > CANCELLING_SECONDS
        return run.state_type in (StateType.CANCELLED, StateType.COMPLETED, StateType.FAILED)
