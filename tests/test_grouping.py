"""The suite relies on groups: without them a costly fixture is made once in every process, for twice the time."""

from __future__ import annotations

import pytest


def test_tests_of_one_group_stay_in_one_process(request: pytest.FixtureRequest) -> None:
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("one process runs them all")
    assert request.node.nodeid.endswith("@test_grouping.py")
