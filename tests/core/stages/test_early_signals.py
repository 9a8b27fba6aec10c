"""A stage that is told to stop while it is still starting ends as resumable, not as crashed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

STARTING = """
import sys
from pathlib import Path
from core.stages.early_signals import exit_when_told
exit_when_told()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_before_the_first_step_ends_the_process_as_resumable(number: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", STARTING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    assert process.wait(timeout=300) == 143


@pytest.mark.parametrize("module", ["core.stages", "core.training"])
def test_both_programs_listen_before_they_import_torch(module: str, tmp_path: Path) -> None:
    fifo = tmp_path / "specification.json"
    os.mkfifo(fifo)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-m", module, str(fifo)], env=environment)
    with fifo.open("w"):  # opens once the program reads its specification: before any producer is imported
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=300) == 143
