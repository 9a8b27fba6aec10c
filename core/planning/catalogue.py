"""Tag and key to stage: the plan of each recipe is made once in a process and looked up from then on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from core.planning.pipeline import pipeline_stages
from core.planning.stage import Stage
from core.recipes.recipe import Recipe, RecipeError
from core.recipes.table import find_recipe, recipes


def stages_of(tag: str) -> dict[str, Stage]:
    """Every stage of a tag by key, needs before needers. Raises `RecipeError` for an unknown tag."""
    return _stages(find_recipe(tag))


def find_stages(tag: str, wanted: str) -> Sequence[Stage]:
    """The stages of `tag` whose kind is `wanted` or whose key begins with it; refuses when there are none."""
    stages = stages_of(tag).values()
    found = [stage for stage in stages if stage.kind.value == wanted or stage.key.startswith(wanted)]
    if not found:
        kinds = ", ".join(dict.fromkeys(stage.kind.value for stage in stages))
        raise RecipeError(f"{tag} has no stage {wanted!r}; name a kind ({kinds}) or the beginning of a key")
    return found


def owners_of(key: str) -> list[str]:
    """Every known tag that has the stage with this key, in the order of the table."""
    return [tag for tag in recipes() if key in stages_of(tag)]


def known_folders() -> set[str]:
    """The artifact folders that any known tag reaches."""
    return {stage.address.folder for tag in recipes() for stage in stages_of(tag).values()}


@cache
def _stages(recipe: Recipe) -> dict[str, Stage]:
    return {stage.key: stage for stage in pipeline_stages(recipe)}
