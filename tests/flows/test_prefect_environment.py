"""What a run says of a Prefect server that ceases to answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from running import ROOT

RUN = """
import logging
import httpx
from flows.prefect_environment import PrefectAway, prefect_for_this_run
try:
    with prefect_for_this_run():
        assert not logging.raiseExceptions  # or Prefect writes to the terminal that its logs found no server
        raise httpx.ConnectError("All connection attempts failed")
except PrefectAway as error:
    print(error)
"""


def test_an_embedded_server_that_is_gone_is_told_in_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        env={"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = done.stdout.splitlines()
    assert line.startswith("Prefect's embedded server, which this run had started, gives no answer any more")
    assert line.endswith("run the same command again")
    assert done.stderr == ""
