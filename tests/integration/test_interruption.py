"""kill -9, SIGTERM, a dead rank: the same command again continues, and ends on the bits of an undisturbed run."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
from running import Miniseries, wait_until
from segment_hashes import segment_hashes

pytestmark = pytest.mark.slow
OFTEN = {"MINISERIES_CHECKPOINT_SECONDS": "0.2"}


def find(process: subprocess.Popen[str], who: str) -> psutil.Process:
    """The supervisor, torchrun's agent, or the training rank."""
    supervisor = psutil.Process(process.pid)
    if who == "supervisor":
        return supervisor
    for member in supervisor.children(recursive=True):
        line = member.cmdline()
        if ("torch.distributed.run" in line) == (who == "agent") and "core.training" in line:
            return member
    raise AssertionError(f"there is no {who}")


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def resumed_step(store: Miniseries) -> int:
    """The step from which the last attempt continued, by its log."""
    logs = sorted(Path(store.home).glob("state/**/pretrain/*.log"), key=lambda path: path.stat().st_mtime)
    (line,) = [line for line in logs[-1].read_text().splitlines() if "continuing at step" in line]
    return int(line.split("continuing at step ")[1].split()[0])


def end(process: subprocess.Popen[str]) -> None:
    process.communicate()


@pytest.mark.parametrize("victim", ["supervisor", "agent", "rank"])
def test_after_kill_9_of_any_process_the_same_command_resumes_to_the_same_bits(
    victim: str, prepared: Miniseries, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    store = prepared.on_copy(tmp_path)
    process = store.start("make", "endless_drope_25", "pretrain", **OFTEN)
    wait_until(store.checkpoint("pretrain"))
    others = family(process)
    find(process, victim).send_signal(signal.SIGKILL)
    end(process)
    assert process.returncode != 0
    psutil.wait_procs(others, timeout=300)
    assert not store.manifests("pretrain")
    assert states(store.json("plan", "endless_drope_25", "--json"), "pretrain") == ["resumable"]
    assert list(store.json("make", "endless_drope_25", "pretrain").values())[-1] == "made"
    assert resumed_step(store) > 0
    assert segment_hashes(store) == undisturbed


def states(plan: dict[str, Any], kind: str) -> list[str]:
    return [stage["state"] for stage in plan["stages"] if stage["kind"] == kind]


def test_signals_mean_checkpoint_then_stop_and_two_of_them_change_no_bit(
    prepared: Miniseries, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    store = prepared.on_copy(tmp_path)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        seen = checkpoints(store)
        process = store.start("make", "endless_drope_25", "pretrain", **OFTEN)
        wait_until(lambda seen=seen: checkpoints(store) - seen)
        before = max(checkpoints(store))
        process.send_signal(number)
        _, errors = process.communicate()
        assert process.returncode == 128 + number
        assert f"stopped by {number.name}" in errors
        assert max(checkpoints(store)) > before
    store.json("make", "endless_drope_25", "pretrain")
    assert segment_hashes(store) == undisturbed


def checkpoints(store: Miniseries) -> set[str]:
    """Names of the declared checkpoints: steps, with leading zeros."""
    return {path.parent.name for path in store.checkpoint("pretrain")()}
