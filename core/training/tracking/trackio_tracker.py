"""Trackio: runs of project `miniseries` in a local database, shown by `TRACKIO_DIR=FOLDER/trackio trackio show`.

TRACKIO_DIR, TRACKIO_SPACE_ID and TRACKIO_SERVER_URL, where a person set them, say where the runs go instead.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from core.training.tracking.tracker import PROJECT, TrackedRun

if TYPE_CHECKING:
    from trackio.run import Run


class TrackioTracker:
    """Records in a Trackio run that is open."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._unseen = run._next_step  # private, but the only place that tells: a step logged twice is drawn twice

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Queue the values for Trackio's thread."""
        if step >= self._unseen:
            self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Write out the queue."""
        self._run.finish()


def open_trackio(run: TrackedRun) -> TrackioTracker:
    """Begin the run, or continue it if the database has one of its label."""
    os.environ["TRACKIO_DIR"] = os.environ.get("TRACKIO_DIR") or str(run.folder / "trackio")
    import trackio  # only now: it looks at TRACKIO_DIR once, when it is imported

    return TrackioTracker(
        trackio.init(
            PROJECT,
            name=run.label,
            config=dict(run.settings),
            resume="allow",
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
    )
