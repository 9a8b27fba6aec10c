"""One probe, taken by a child process as a stage is: followed while it runs, stopped with us, judged by its outcome."""

from __future__ import annotations

import os
import sys
import tempfile
from collections import deque
from pathlib import Path

import platformdirs

from core.planning.calibration import CalibrationRecord
from core.planning.probe import Probe
from core.stages.report import Progress, parse
from core.stages.specification import Outcome, read_outcomes
from tasks.display import Display
from tasks.perform import StageFailed
from tasks.supervise import supervise

GRACE_SECONDS = 2.0  # a probe has nothing to save
TAIL_LINES = 20


def take(probe: Probe, title: str, display: Display) -> CalibrationRecord:
    """Return what was measured; raises `StageFailed` with one line when nothing was."""
    log = Path(platformdirs.user_log_dir("miniseries")) / "calibrate.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    tail: deque[str] = deque(maxlen=TAIL_LINES)

    def hear(line: str) -> None:
        told = parse(line)
        if isinstance(told, Progress):
            display.advance(title, told)
        elif line.strip():
            tail.append(line.strip())

    with tempfile.TemporaryDirectory(prefix="miniseries-") as folder:
        path = Path(folder) / "probe.json"
        probe.write(path)
        armed = [sys.executable, "-m", "core.stages.parent_death", str(os.getpid())]
        code = supervise(
            [*armed, sys.executable, "-m", "core.training.probe", str(path)],
            log=log,
            environment={},
            grace_seconds=GRACE_SECONDS,
            family=lambda _process_ids: None,
            line=hear,
            watch=lambda: None,
        )
        outcome = _judged(title, read_outcomes(path.parent), code, tail, log)
    speed = outcome.metrics["tokens_per_second"]
    assert isinstance(speed, float)
    return CalibrationRecord.of(
        probe.shape,
        batch_tokens=probe.batch_tokens,
        steps=probe.steps,
        tokens_per_second=speed,
        numerics={**outcome.numerics, "kernels": probe.runtime.kernels},
    )


def _judged(title: str, outcomes: list[Outcome], code: int, tail: deque[str], log: Path) -> Outcome:
    if not outcomes:
        last = f"; last line: {tail[-1]}" if tail else ""
        raise StageFailed(f"{title}: the probe ended early with exit code {code}{last} (log: {log})")
    if outcomes[0].status != "finished":
        raise StageFailed(f"{title}: {outcomes[0].error}")
    return outcomes[0]
