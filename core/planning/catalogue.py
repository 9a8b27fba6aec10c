"""Tag and key to stage: the plan of each tag is made once in a process and looked up from then on."""

from __future__ import annotations

from functools import cache

from core.planning.pipeline import pipeline_stages
from core.planning.stage import Stage
from core.recipes.table import find_recipe


@cache
def stages_of(tag: str) -> dict[str, Stage]:
    """Every stage of a tag by key, needs before needers. Raises `RecipeError` for an unknown tag."""
    return {stage.key: stage for stage in pipeline_stages(find_recipe(tag))}
