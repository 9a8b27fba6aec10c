"""Weights & Biases: the run `key[:12]` of project `miniseries`, or of WANDB_PROJECT, as its environment variables say.

With WANDB_MODE=offline everything stays in the tracking folder, for `wandb sync` to send later.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import wandb

from core.stages.context import StageError
from core.training.tracking.tracker import PROJECT, TrackedRun

SILENT_MODES = ("offline", "dryrun", "disabled")  # in which it needs no credentials
START_SECONDS = 30.0  # to reach the server before training starts without it
FINISH_SECONDS = 10.0  # to send what is left: a process that was asked to stop has 25 s, its checkpoint included


class WandbTracker:
    """Records in a W&B run that is open."""

    def __init__(self, run: wandb.Run) -> None:
        self._run = run
        self._unseen = run.step  # the server keeps a step's first values; sending them again only earns warnings

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Hand the values to W&B's own process."""
        if step >= self._unseen:
            self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Wait for the server, not long; the rest stays in the folder for `wandb sync`."""
        self._run.finish()


def open_wandb(run: TrackedRun) -> WandbTracker:
    """Begin the run, or continue it if the server knows it; `StageError` where nobody is logged in.

    Git state, source code and console are not sent: a remote's address may hold a password.
    """
    if wandb.setup().settings.mode not in SILENT_MODES and not wandb.login(prompt=False, verify=False):
        raise StageError(
            "tracker wandb: nobody is logged in to Weights & Biases here; set WANDB_API_KEY, run `wandb login`, "
            "or set WANDB_MODE=offline to keep the run on this machine"
        )
    run.folder.mkdir(parents=True, exist_ok=True)
    opened = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=run.name,
        id=run.identifier,
        resume="allow",
        dir=run.folder,
        config=dict(run.settings),
        reinit="create_new",
        settings=wandb.Settings(
            console="off",
            disable_git=True,
            disable_code=True,
            init_timeout=START_SECONDS,
            finish_timeout=FINISH_SECONDS,
        ),
    )
    return WandbTracker(opened)
