"""The trackers a person chose, as one tracker that cannot harm the run.

What a person must set up is refused before the first step, in one line: an unknown name, a package that is not
installed, credentials that are not there. What fails afterwards (network, quota, a full disk) costs that tracker the
rest of the run and one warning; the others and the training go on.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

from artifacts.redaction import redact
from core.stages.context import StageError
from core.training.tracking.tracker import NoTracker, TrackedRun, Tracker

OPENERS = {  # name, also of the extra that installs it -> module:function; imported only when it is chosen
    "tensorboard": "core.training.tracking.tensorboard_tracker:TensorBoardTracker",
    "wandb": "core.training.tracking.wandb_tracker:open_wandb",
    "trackio": "core.training.tracking.trackio_tracker:open_trackio",
}

Warn = Callable[[str], None]  # shows one line to people


def open_trackers(names: tuple[str, ...], run: TrackedRun, warn: Warn) -> Tracker:
    """Begin or continue `run` in the trackers of these names; `StageError` for one that is not set up.

    For the process that leads only: two that record one run would draw over each other.
    """
    for name in names:
        if name not in OPENERS:
            raise StageError(f"no tracker is called {name!r}; there are {', '.join(OPENERS)}")
    trackers: dict[str, Tracker] = {}
    for name in dict.fromkeys(names):
        try:
            trackers[name] = _open(name, run)
        except StageError:
            raise
        except Exception as error:  # noqa: BLE001 -- whatever ails the tool, training goes on
            _warn_of(name, error, warn)
    return Trackers(trackers, warn) if trackers else NoTracker()


class Trackers:
    """Several trackers as one. One that raises is told nothing more."""

    def __init__(self, trackers: Mapping[str, Tracker], warn: Warn) -> None:
        self._trackers = dict(trackers)
        self._warn = warn

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Record in every tracker that has not failed."""
        self._tell_all(lambda tracker: tracker.record(step, values))

    def close(self) -> None:
        """Close every tracker that has not failed."""
        self._tell_all(lambda tracker: tracker.close())

    def _tell_all(self, tell: Callable[[Tracker], None]) -> None:
        for name, tracker in tuple(self._trackers.items()):
            try:
                tell(tracker)
            except Exception as error:  # noqa: BLE001 -- whatever ails the tool, training goes on
                del self._trackers[name]
                _warn_of(name, error, self._warn)


def _open(name: str, run: TrackedRun) -> Tracker:
    module, _, function = OPENERS[name].partition(":")
    try:
        tracker: Tracker = getattr(importlib.import_module(module), function)(run)
    except ImportError as error:
        raise StageError(
            f"tracker {name} cannot be imported ({error}); run pip install 'miniseries[{name}]', or choose another"
        ) from None
    return tracker


def _warn_of(name: str, error: Exception, warn: Warn) -> None:
    text = " ".join(redact(f"{type(error).__name__}: {error}").split())
    warn(f"tracker {name} failed and is left out from here on, training continues: {text}")
