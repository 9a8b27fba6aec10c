"""A flow run that is started again and again fails at last, so that no automation starts it once more."""

from __future__ import annotations

import pytest

from flows.crash_loop import MOST_STARTS, CrashLoop, require_no_crash_loop

STARTS = "PREFECT__RUNTIME__FLOW_RUN__RUN_COUNT"  # Prefect's own way to say in tests what a flow run is


def test_a_run_that_was_started_a_few_times_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for starts in (0, 1, MOST_STARTS):
        monkeypatch.setenv(STARTS, str(starts))
        require_no_crash_loop()


def test_a_run_that_was_started_too_often_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STARTS, str(MOST_STARTS + 1))
    with pytest.raises(CrashLoop, match=r"started 6 times .* start a new run of the deployment, which continues"):
        require_no_crash_loop()
