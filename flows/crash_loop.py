"""A flow run that was started again and again and never came to an end is not started once more by itself.

Automations start a crashed run again, which is right after a lost machine and wrong for what kills every machine.
"""

from __future__ import annotations

from prefect import runtime

from tasks.perform import StageInterrupted

MOST_STARTS = 5


class CrashLoop(StageInterrupted):
    """A flow run was started too often."""


def require_no_crash_loop() -> None:
    """Raise `CrashLoop` when this flow run was started more than `MOST_STARTS` times: it fails, which ends the loop."""
    starts = runtime.flow_run.run_count
    if starts > MOST_STARTS:
        raise CrashLoop(
            f"this flow run was started {starts} times and never came to an end; see its logs for what ends it, "
            "then start a new run of the deployment, which continues from what was checkpointed"
        )
