"""A run that somebody cancelled is told from one that crashed, whatever Prefect called its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.schemas.objects import State, StateType

from tasks.dispatch.cancellation import was_being_cancelled

BEGUN = "SCHEDULED PENDING RUNNING"
BEGAN = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (BEGUN, False),
        (f"{BEGUN} CRASHED", False),
        (f"{BEGUN} CRASHED {BEGUN}", False),
        (f"{BEGUN} CANCELLING CRASHED", True),  # its supervisor was killed for being slow
        (f"{BEGUN} CANCELLING SCHEDULED PENDING RUNNING", True),  # the supervisor put it back into the queue
        (f"{BEGUN} CANCELLING CRASHED SCHEDULED PENDING RUNNING", True),  # an automation did
        (f"{BEGUN} CANCELLING CANCELLED SCHEDULED PENDING RUNNING", False),  # a person tries it again
        (f"{BEGUN} CANCELLING CANCELLED SCHEDULED PENDING RUNNING CRASHED", False),
    ],
)
def test_a_cancellation_counts_until_it_is_settled(history: str, expected: bool) -> None:
    states: list[State[None]] = [
        State(type=StateType(type_), timestamp=BEGAN + timedelta(seconds=second))
        for second, type_ in enumerate(history.split())
    ]
    assert was_being_cancelled(reversed(states)) is expected
