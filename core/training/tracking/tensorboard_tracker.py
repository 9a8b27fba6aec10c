"""TensorBoard: event files of one folder a run, read by `tensorboard --logdir FOLDER/tensorboard`."""

from __future__ import annotations

from collections.abc import Mapping

from torch.utils.tensorboard import SummaryWriter

from core.training.tracking.tracker import Scalar, TrackedRun

FLUSH_SECONDS = 30  # after which a curve on the screen knows a number


class TensorBoardTracker:
    """Writes event files. A continued run adds a file that hides the repeated steps of the files before it."""

    def __init__(self, run: TrackedRun) -> None:
        self._folder = run.folder / "tensorboard" / run.label
        self._settings = run.settings
        self._writer: SummaryWriter | None = None  # made by the first step: what it hides depends on that

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Queue the values for the writer's thread."""
        writer = self._writer = self._writer or self._open(step)
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write out the queue."""
        if self._writer is not None:
            self._writer.close()

    def _open(self, step: int) -> SummaryWriter:
        continues = any(self._folder.glob("events.out.tfevents.*"))
        writer = SummaryWriter(str(self._folder), purge_step=step if continues else None, flush_secs=FLUSH_SECONDS)
        if not continues:
            writer.add_text("settings", _table(self._settings), step)
        return writer


def _table(settings: Mapping[str, Scalar]) -> str:
    """Markdown, which TensorBoard renders."""
    return "\n".join(
        ["| setting | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in settings.items())]
    )
