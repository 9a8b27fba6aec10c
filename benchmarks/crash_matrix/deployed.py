"""Who starts a run of a deployed pipeline and waits for it.

    python -m benchmarks.crash_matrix.deployed API DEPLOYMENT

Prints each state as it comes. Exits 0 once the run is Completed and 1 once it has Failed; a run that was cancelled or
has crashed is waited for, since a person or an automation may start it again.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from typing import Any

POLL_SECONDS = 0.5
BUSY = 500  # from this status on, the server may answer later


def main(api: str, deployment: str) -> int:
    """Start it and wait."""
    found = _ask(f"{api}/deployments/name/{deployment}")
    run = _ask(f"{api}/deployments/{found['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})
    shown = ""
    while run["state_type"] not in ("COMPLETED", "FAILED"):
        time.sleep(POLL_SECONDS)
        run = _ask(f"{api}/flow_runs/{run['id']}")
        if run["state_name"] != shown:
            shown = run["state_name"]
            print(shown, file=sys.stderr, flush=True)
    if run["state_type"] == "COMPLETED":
        return 0
    print(run["state"]["message"], file=sys.stderr)
    return 1


def _ask(url: str, body: dict[str, Any] | None = None) -> Any:
    """The answer, however long a busy server takes."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code < BUSY:
                raise
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if body is not None:
                raise  # it may have been created
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
