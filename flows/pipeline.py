"""The flow a person deploys and runs: one tag in, its published model out.

Every stage is one task run, named for people. Stages that nothing missing needs are skipped even when
their own artifact was collected as garbage: the plan is read backwards from what is asked for.
"""

from __future__ import annotations

from typing import Any, Literal

from prefect import flow
from prefect.states import State

from core.planning.catalogue import stages_of
from core.planning.progress import required
from core.planning.title import title
from core.recipes.table import find_recipe, recipes
from tasks.settings import settings_from_environment
from tasks.table import TASKS

Tag = Literal[tuple(recipes())]  # type: ignore[valid-type]  # the run form shows a drop-down of the tags

@flow(name="pipeline", flow_run_name="{tag}", persist_result=False, validate_parameters=False)
def pipeline(tag: Tag) -> dict[str, dict[str, Any]]:
    """Train, fine-tune, evaluate, convert and publish one model; every stage cached, every heavy one resumable.

    Returns a small reference for each stage by key: its state, seconds, metrics and one-line summary.
    """
    tag = find_recipe(tag).tag
    store = settings_from_environment().open_store()
    store.check_writable()
    stages = stages_of(tag)
    needed = required(list(stages.values()), store.survey())
    done: dict[str, dict[str, Any]] = {}
    for stage in stages.values():
        if stage.key in needed:
            done[stage.key] = _result(TASKS[stage.kind](tag, stage.key, title(stage), return_state=True))
    return done


def _result(state: State[dict[str, Any]]) -> dict[str, Any]:
    """The reference that a stage task returned; raises what the task raised."""
    result: dict[str, Any] = state.result()
    return result
