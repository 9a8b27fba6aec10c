"""The flow a person deploys and runs: one tag in, its published model out.

Every stage is one task run, named for people; what the store has shows as Cached. A stage whose artifact was
collected as garbage is skipped while everything made from it exists: the plan is read backwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State

from core.planning.catalogue import stages_of
from core.planning.progress import visited
from core.planning.title import unique_title
from core.recipes.table import find_recipe, recipes
from tasks.settings import settings_from_environment
from tasks.table import TASKS

if TYPE_CHECKING:
    Tag = str
else:
    Tag = Literal[tuple(recipes())]  # so that the run form shows a drop-down of the tags


@flow(name="pipeline", flow_run_name="{tag}", persist_result=False, validate_parameters=False)
def pipeline(tag: Tag) -> dict[str, dict[str, Any]]:
    """Train, fine-tune, evaluate, convert and publish one model; every stage cached, every heavy one resumable.

    Returns a small reference for each stage by key: its state, seconds, metrics and one-line summary.
    """
    tag = find_recipe(tag).tag
    store = settings_from_environment().open_store()
    store.check_writable()
    done: dict[str, dict[str, Any]] = {}
    for stage in visited(stages_of(tag).values(), store.survey()):
        perform: Callable[..., State[dict[str, Any]]] = TASKS[stage.kind]
        done[stage.key] = _result(perform(tag, stage.key, unique_title(stage), return_state=True))
    return done


def _result(state: State[dict[str, Any]]) -> dict[str, Any]:
    """The reference that a stage task returned; raises what the task raised."""
    result: dict[str, Any] = state.result()
    return result
