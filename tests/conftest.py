"""Settings of the whole suite.

Property tests never fail because a busy machine was slow. With `-n` (two processes in `make test`) the tests
of one file stay in one process, for their fixtures; so do files that share a costly one, by `xdist_group`. The long
groups of tests/integration begin first: they wait for servers while others compute, and none is left over at the end.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

Mount = Callable[[str], Path]

settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests of each file that names no group, long groups first."""
    items.sort(key=lambda item: "integration" not in item.path.parts)
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.name))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: two processes must collect the same names, and bytes may hold the time."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Mount]:
    """`small_disk(options)`: a file system in memory of its own, where mounting one is permitted."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
        if done.returncode:
            pytest.skip(f"mounting is not permitted here: {done.stderr.decode().strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
