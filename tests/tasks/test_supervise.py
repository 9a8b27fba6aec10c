"""Real child processes, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from tasks.supervise import supervise

# A child that says it is ready and writes what it was told, like a training that checkpoints on SIGTERM.
CHECKPOINTING = """
import pathlib, signal, sys
target = pathlib.Path(sys.argv[1])
def save(number, frame):
    target.write_text(signal.Signals(number).name)
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("ready")
signal.pause()
"""


class Stop(BaseException):
    """What a cancellation is: not an Exception."""


class Watcher:
    """Collects what supervise tells, and raises `Stop` once a line was seen."""

    def __init__(self, stop_at: str | None = None) -> None:
        self.lines: list[str] = []
        self.family: list[int] = []
        self._stop_at = stop_at

    def line(self, text: str) -> None:
        self.lines.append(text)

    def set_family(self, process_ids: Sequence[int]) -> None:
        self.family = list(process_ids)

    def watch(self) -> None:
        if self._stop_at in self.lines:
            raise Stop


def python(script: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", script, *map(str, arguments)]


def run(command: list[str], watcher: Watcher, folder: Path, grace_seconds: float = 20.0) -> int:
    return supervise(
        command,
        log=folder / "log",
        environment={},
        grace_seconds=grace_seconds,
        family=watcher.set_family,
        line=watcher.line,
        watch=watcher.watch,
    )


def test_every_line_is_delivered_in_order_and_the_exit_code_is_returned(tmp_path: Path) -> None:
    watcher = Watcher()
    script = "import sys; [print(n) for n in range(2000)]; print('bad', file=sys.stderr); sys.exit(3)"
    assert run(python(script), watcher, tmp_path) == 3
    assert [line for line in watcher.lines if line != "bad"] == [str(n) for n in range(2000)]
    assert (tmp_path / "log").read_text().count("\n") == 2001


def test_a_child_sees_what_its_environment_adds_to_ours(tmp_path: Path) -> None:
    watcher = Watcher()
    script = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['PATH'])"
    code = supervise(
        python(script),
        log=tmp_path / "log",
        environment={"CUDA_VISIBLE_DEVICES": "2,3"},
        grace_seconds=20.0,
        family=watcher.set_family,
        line=watcher.line,
        watch=watcher.watch,
    )
    assert (code, watcher.lines) == (0, [f"2,3 {os.environ['PATH']}"])


def test_a_killed_child_is_told_by_its_signal(tmp_path: Path) -> None:
    assert run(python("import os; os.kill(os.getpid(), 9)"), Watcher(), tmp_path) == -signal.SIGKILL


def test_a_cancellation_lets_the_child_checkpoint_before_it_is_raised_again(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        run(python(CHECKPOINTING, tmp_path / "saved"), Watcher("ready"), tmp_path)
    assert (tmp_path / "saved").read_text() == "SIGTERM"


def test_a_child_that_ignores_the_request_is_killed_when_its_grace_is_over(tmp_path: Path) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready'); signal.pause()"
    watcher = Watcher("ready")
    with pytest.raises(Stop):
        run(python(stubborn), watcher, tmp_path, grace_seconds=0.3)
    assert not psutil.pid_exists(watcher.family[0])


def test_a_descendant_in_a_session_of_its_own_is_ended_too(tmp_path: Path) -> None:
    """torchrun starts every rank in a new session, where killing the group does not reach it."""
    parent = (
        "import subprocess, sys;"
        "child = subprocess.Popen([sys.executable, '-c', sys.argv[1], sys.argv[2]], start_new_session=True);"
        "child.wait()"
    )
    watcher = Watcher("ready")
    with pytest.raises(Stop):
        run(python(parent, CHECKPOINTING, tmp_path / "saved"), watcher, tmp_path)
    assert (tmp_path / "saved").read_text() == "SIGTERM"


def test_a_stage_process_is_told_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    """kill -9 of the flow process: no handler of ours runs, the kernel sends the SIGTERM."""
    fifo = tmp_path / "ready"
    os.mkfifo(fifo)
    child = CHECKPOINTING.replace('print("ready")', "open(sys.argv[2], 'w').write('ready')")
    supervisor = (
        "import os, sys; from pathlib import Path; from tasks.supervise import supervise;"
        "armed = [sys.executable, '-m', 'core.stages.parent_death', str(os.getpid())];"
        "supervise([*armed, sys.executable, '-c', *sys.argv[2:]], log=Path(sys.argv[1]), environment={},"
        " grace_seconds=20, family=print, line=print, watch=lambda: None)"
    )
    process = subprocess.Popen(
        python(supervisor, tmp_path / "log", child, tmp_path / "saved", fifo), stdout=subprocess.PIPE
    )
    assert fifo.read_text() == "ready"
    orphans = psutil.Process(process.pid).children()
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(orphans, timeout=120)
    assert not [orphan for orphan in alive if orphan.status() != psutil.STATUS_ZOMBIE]
    assert (tmp_path / "saved").read_text() == "SIGTERM"


def test_torchrun_gives_its_ranks_the_whole_grace_to_checkpoint(tmp_path: Path) -> None:
    script = """
from torch.distributed.launcher.api import LaunchConfig
print(LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=1).shutdown_timeout)
"""
    watcher = Watcher()
    assert run(python(script), watcher, tmp_path, grace_seconds=41.5) == 0
    assert watcher.lines[-1] == "42"
