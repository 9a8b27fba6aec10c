"""A flow run of a deployment ends when nobody supervises it any more; real processes, one of which dies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from running import ROOT, wait_until
from s3_server import free_port

from flows.supervision import supervision

RUN = """
import os, sys, time
from pathlib import Path
from flows import supervision as module
from flows.supervision import SupervisorGone, supervision
module.AWAY_SECONDS = 1.0
look, folder = supervision(), Path(sys.argv[1])
look()
(folder / "begun").touch()
try:
    while True:
        look()
        time.sleep(0.05)
except SupervisorGone as error:
    (folder / "part").write_text(str(error))
    (folder / "part").rename(folder / "ended")
"""
SUPERVISE = "import subprocess, sys; subprocess.call(sys.argv[1:])"


def of_a_deployment() -> dict[str, str]:
    """Prefect's own way to say in tests what a flow run is; its server gives no answer."""
    return {
        "PREFECT__RUNTIME__DEPLOYMENT__ID": str(uuid4()),
        "PREFECT__RUNTIME__FLOW_RUN__ID": str(uuid4()),
        "PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api",
    }


def test_a_run_whose_supervisor_was_killed_ends_also_while_the_server_is_away(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(RUN)
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, sys.executable, str(script), str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, **of_a_deployment(), "PYTHONPATH": str(ROOT)},
    )
    try:
        wait_until((tmp_path / "begun").exists)
    finally:
        supervisor.kill()
        supervisor.wait()
    wait_until((tmp_path / "ended").exists)
    told = (tmp_path / "ended").read_text()
    assert f"process {supervisor.pid}, which supervised this run, has died" in told


def test_what_is_run_from_a_terminal_may_outlive_it(monkeypatch: pytest.MonkeyPatch) -> None:
    look = supervision()
    monkeypatch.setattr(os, "getppid", lambda: -1)
    look()
