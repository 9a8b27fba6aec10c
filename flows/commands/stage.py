"""`miniseries stage`: one stage of a tag, here and now, without Prefect: what a batch job runs, and people may."""

from __future__ import annotations

import signal
from dataclasses import replace

from core.planning.catalogue import find_stages
from core.planning.stage import Stage
from core.planning.title import unique_title
from core.stages.kind import StageKind
from flows.commands.run import display_on
from flows.console import console, print_error
from flows.stopping import Stopped, stop_once
from tasks.display import Display
from tasks.launch import launcher_of
from tasks.marked_display import MarkedDisplay
from tasks.perform import PASSING, Assignment, StageFailed, StageStopped, perform
from tasks.settings import settings_from_environment
from tasks.slurm_job import HELD, INTERRUPTED, LeasePatience, SlurmBatchJob

OF_SLURM = 128 + signal.SIGUSR1  # the exit code when the job's time is nearly over


def make_stage(tag: str, wanted: str) -> int:
    """Make the one stage of `tag` whose kind is `wanted` or whose key begins with it; returns the exit code."""
    stage = the_stage(tag, wanted)
    with stop_once():
        return _made(_assignment(stage, display_on(console())))


def make_stage_in_slurm_job(tag: str, key: str) -> int:
    """The same for a batch job and who follows its log; when its time is nearly over, it is requeued."""
    job, stage = SlurmBatchJob.from_environment(), the_stage(tag, key)
    assignment = _assignment(stage, MarkedDisplay())
    found = assignment.settings.open_store().survey().get(stage.address.folder)
    job.note_start(None if found is None else found.checkpoint_step)
    patience = LeasePatience(lease_seconds=assignment.settings.lease_seconds)
    with stop_once():
        try:
            return _made(replace(assignment, when_held=patience.when_held))
        except StageStopped as stop:
            print_error(str(stop))
            return HELD
        except Stopped as stop:
            if stop.exit_code == OF_SLURM:
                job.requeue()
            raise


def the_stage(tag: str, wanted: str) -> Stage:
    """Raises `RecipeError` for none, `StageFailed` for several, and for what a stage alone may not do."""
    found = find_stages(tag, wanted)
    if len(found) > 1:
        choice = ", ".join(f"{stage.key[:8]} ({stage.name})" for stage in found)
        raise StageFailed(f"{tag} has {len(found)} stages {wanted!r}; name one by the beginning of its key: {choice}")
    if found[0].kind is StageKind.PUBLISH:
        raise StageFailed(f"publishing asks for consent; run miniseries publish {tag}")
    return found[0]


def _assignment(stage: Stage, display: Display) -> Assignment:
    return Assignment(
        stage=stage,
        settings=settings_from_environment(),
        launcher=launcher_of(stage.kind),
        title=unique_title(stage),
        display=display,
    )


def _made(assignment: Assignment) -> int:
    """Perform it; what may pass has an exit code of its own."""
    try:
        perform(assignment)
    except PASSING as error:
        print_error(str(error))
        return INTERRUPTED
    return 0
