"""Which embedded servers are ended: those of runs that are gone, and no others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest

from flows.embedded_server import OWNER, SERVER, end_orphaned_servers

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts processes that look like Prefect's embedded server, with an owner or without."""
    started: list[subprocess.Popen[str]] = []

    def look_alike(*arguments: str, owner: int | None) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if name != OWNER}
        if owner is not None:
            environment[OWNER] = str(owner)
        script = "import signal; print('ready', flush=True); signal.pause()"
        command = [sys.executable, "-c", script, *arguments]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield look_alike
    for process in started:
        process.kill()
        process.communicate()


def test_the_server_of_a_run_that_is_gone_is_ended_and_no_other_process(start: Start) -> None:
    orphan = start(SERVER, owner=2**22 + 1)  # above every process id that Linux gives
    others = [start(SERVER, owner=os.getpid()), start(SERVER, owner=None), start("another program", owner=2**22 + 1)]
    end_orphaned_servers()
    assert not psutil.pid_exists(orphan.pid)
    assert [other.poll() for other in others] == [None, None, None]
