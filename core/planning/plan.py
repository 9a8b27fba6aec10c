"""The plan of one tag or many: the merged DAG, each shared stage once, with state, cost, and what sharing saves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from core.planning.catalogue import stages_of
from core.planning.cost import Cost, stage_cost, unshared_cost
from core.planning.pretraining import base_stage
from core.planning.progress import Progress, Survey, progress_of
from core.planning.stage import Stage, in_order
from core.recipes.table import find_recipe


@dataclass(frozen=True)
class PlannedStage:
    """One stage of a plan and the tags that need it."""

    stage: Stage
    tags: tuple[str, ...]
    progress: Progress
    cost: Cost


@dataclass(frozen=True)
class Plan:
    """Every stage of a set of tags, needs before needers."""

    stages: tuple[PlannedStage, ...]
    unshared: Cost  # the distinct base models, each trained alone

    @property
    def total(self) -> Cost:
        """Everything, made or not."""
        return sum((planned.cost for planned in self.stages), Cost())

    @property
    def remaining(self) -> Cost:
        """What is still to be made."""
        return sum((planned.cost for planned in self.stages if planned.progress.needed), Cost())


def make_plan(tags: Iterable[str], survey: Survey, holder: Callable[[Stage], str | None]) -> Plan:
    """Merge the DAGs of `tags` and look up every stage in `survey`. Raises `RecipeError` for an unknown tag."""
    recipes = [find_recipe(tag) for tag in tags]
    owners: dict[str, list[str]] = {}
    leaves: list[Stage] = []
    for recipe in recipes:
        for key, stage in stages_of(recipe.tag).items():
            owners.setdefault(key, []).append(recipe.tag)
            leaves.append(stage)
    stages = in_order(leaves)
    progress = progress_of(stages, survey, holder)
    bases = {base.key: unshared_cost(base, recipe) for recipe in recipes for base in [base_stage(recipe)]}
    return Plan(
        stages=tuple(
            PlannedStage(stage, tuple(dict.fromkeys(owners[stage.key])), progress[stage.key], stage_cost(stage))
            for stage in stages
        ),
        unshared=sum(bases.values(), Cost()),
    )
