"""Bringing a stage about where the Prefect UI can watch it: live while it is made, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from core.stages.kind import Resource
from tasks.display import BothDisplays
from tasks.perform import Assignment, Performed
from tasks.ui.board import Board, has_server
from tasks.ui.results import show_results
from tasks.ui.stage_display import StageDisplay


def shown(
    way: Callable[[Assignment], Performed], assignment: Assignment, summary: Callable[[Mapping[str, object]], str]
) -> Performed:
    """`way(assignment)`, shown on the Prefect server of this run; without one that outlives it, nothing more is done.

    `summary` says in a few words what came of it. Only stages that can take hours have a bar. Raises what `way` raises.
    """
    if not has_server():
        return way(assignment)
    with Board() as board:
        if assignment.stage.definition.resource is Resource.GPU:
            both = BothDisplays(assignment.display, StageDisplay(assignment.stage, board))
            assignment = replace(assignment, display=both)
        done = way(assignment)
        show_results(board, assignment, done, summary(done.manifest.metrics))
        return done
