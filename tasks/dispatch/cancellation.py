"""Whether a flow run was being cancelled when it ended otherwise, or was started again.

A worker kills the supervisor of a run that takes more than 30 s to end, and calls the run Crashed; a supervisor that is
told to stop meanwhile puts the run back into the queue. Either way somebody had cancelled it, and wants it no more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prefect.client.schemas.objects import State, StateType

PASSED_OVER = (StateType.CRASHED, StateType.SCHEDULED, StateType.PENDING)


def was_being_cancelled(states: Iterable[State[Any]]) -> bool:
    """Told from all states of a run. A person who tries a run again does so once it is Cancelled, which is no trace."""
    types = [state.type for state in sorted(states, key=lambda state: state.timestamp)]
    if types and types[-1] is StateType.RUNNING:
        types.pop()  # the start of who asks
    settled = [type_ for type_ in types if type_ not in PASSED_OVER]
    return settled[-1:] == [StateType.CANCELLING]
