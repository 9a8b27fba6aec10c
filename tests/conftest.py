"""Settings of the whole suite.

Property tests never fail because a busy machine was slow. With `-n` (two processes in `make test`) the tests
of one file stay in one process, for their fixtures; so do files that share a costly one, by `xdist_group`.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests of each file that names no group."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.name))
