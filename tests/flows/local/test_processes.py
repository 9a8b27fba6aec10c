"""Processes that outlive who started them: known by mark and start time, found after their parents died, ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from running import wait_until

from artifacts.process import Process
from flows.local.processes import MARK, end, lives, marked, start_detached

SLEEP = "import time; time.sleep(600)"
PARENT = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', '{SLEEP}']).pid, flush=True); {SLEEP}"


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    """A mark of this test; what carries it at the end is killed."""
    yield str(tmp_path)
    end(marked(str(tmp_path)), 0.0)


def started(tmp_path: Path, mark: str, program: str) -> Process:
    environment = {**os.environ, MARK: mark}
    return start_detached(
        [sys.executable, "-c", program], folder=tmp_path, environment=environment, log=tmp_path / "log"
    )


def test_a_process_is_ours_by_its_mark_and_its_start_time(tmp_path: Path, mark: str) -> None:
    process = started(tmp_path, mark, SLEEP)
    assert lives(process, mark)
    assert not lives(process, mark + "of another user")
    assert not lives(replace(process, started=1), mark)  # its id belongs to another process now
    assert not lives(None, mark)
    assert os.getsid(process.pid) == process.pid  # neither Ctrl-C nor the end of the terminal reaches it
    psutil.Process(process.pid).kill()
    wait_until(lambda: not lives(process, mark))  # a zombie, since this is its parent


def test_what_a_process_started_is_found_after_it_died(tmp_path: Path, mark: str) -> None:
    process = started(tmp_path, mark, PARENT)
    child = int(wait_until(lambda: (tmp_path / "log").read_text().strip()))
    psutil.Process(process.pid).kill()
    wait_until(lambda: not lives(process, mark))
    assert [found.pid for found in marked(mark)] == [child]


def test_who_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path, mark: str) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); " + SLEEP
    processes = [started(tmp_path, mark, SLEEP), started(tmp_path, mark, stubborn)]
    wait_until(lambda: "ready" in (tmp_path / "log").read_text())
    killed = end([psutil.Process(process.pid) for process in processes], 1.0)
    assert [process.pid for process in killed] == [processes[1].pid]
    assert marked(mark) == []


def test_a_process_hears_ctrl_c_though_who_starts_it_was_told_to_ignore_it(tmp_path: Path, mark: str) -> None:
    """As a script's `command &` is; a Prefect worker that ignores SIGINT cannot be stopped."""
    program = (
        "import sys; from pathlib import Path; from flows.local.processes import start_detached; "
        "from flows.stopping import stop_once\n"
        "with stop_once():\n"
        f"    p = start_detached([sys.executable, '-c', {SLEEP!r}], folder=Path('.'), "
        f"environment={{'{MARK}': {mark!r}}}, log=Path({str(tmp_path / 'log')!r}))\n"
        "print(p.pid)"
    )
    ignoring = subprocess.run(
        [sys.executable, "-c", program],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        capture_output=True,
        text=True,
        check=True,
    )
    process = psutil.Process(int(ignoring.stdout))
    process.send_signal(signal.SIGINT)
    wait_until(lambda: process not in marked(mark))
