"""Who brings a stage about: this process, or for a heavy stage what MINISERIES_DISPATCH says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from core.stages.kind import Resource
from tasks.dispatch.delegate import delegate
from tasks.dispatch.jobs import Commission, Scheduler
from tasks.perform import Assignment, Performed, perform
from tasks.settings import RunSettings

Perform = Callable[[Assignment], Performed]

_arranged: ContextVar[Perform | None] = ContextVar("miniseries-dispatch", default=None)


def bring_about(tag: str, assignment: Assignment) -> Performed:
    """Perform the stage here, or have it made elsewhere and wait for it; raises what `perform` raises.

    `tag` is one that has the stage.
    """
    arranged = _arranged.get()
    if arranged is not None:
        return arranged(assignment)
    if assignment.settings.dispatch == "inline" or assignment.stage.definition.resource is not Resource.GPU:
        return perform(assignment)
    with _scheduler(assignment.settings) as scheduler:
        return delegate(Commission(tag=tag, assignment=assignment), scheduler)


def check_dispatch(settings: RunSettings) -> None:
    """Raise `SettingsError` when heavy stages are to be made elsewhere, and what shall do that is not there."""
    if settings.dispatch != "inline":
        with _scheduler(settings) as scheduler:
            scheduler.check()


@contextmanager
def brought_about_by(way: Perform) -> Iterator[None]:
    """Inside the `with`, in this context and its copies, every stage is brought about by `way`.

    For what runs as a job itself: whatever its environment says, it must not delegate its stage again.
    """
    token = _arranged.set(way)
    try:
        yield
    finally:
        _arranged.reset(token)


@contextmanager
def _scheduler(settings: RunSettings) -> Iterator[Scheduler]:
    match settings.dispatch:
        case "deployment":
            from tasks.dispatch.gpu_pool import open_gpu_pool

            with open_gpu_pool() as pool:
                yield pool
        case _:
            from tasks.dispatch.slurm import SlurmScheduler

            assert settings.slurm is not None
            yield SlurmScheduler(settings.slurm)
