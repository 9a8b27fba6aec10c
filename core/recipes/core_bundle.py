"""Which bundle of CORE's tasks recipes mean: `MINISERIES_CORE_BUNDLE=URL#sha256=HEX`.

The URL says where it is and is nobody's identity. The digest pins every recipe that asks for DCLM's bundle and names no
digest itself; a URL without one pins nothing, and the stage that reads the bundle then says the digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from core.recipes.recipe import Recipe

VARIABLE = "MINISERIES_CORE_BUNDLE"
UNPINNED = "unpinned"
MARK = "#sha256="


def bundle_url(environment: Mapping[str, str]) -> str | None:
    """Where the bundle is; None when nobody said."""
    return environment.get(VARIABLE, "").partition(MARK)[0] or None


def pinned(recipe: Recipe, setting: str) -> Recipe:
    """The recipe with the digest that `setting`, the value of the variable, gives; itself where it names its own."""
    measured = recipe.evaluation.core_metric
    if not setting or measured is None or measured.bundle != "dclm" or measured.sha256 is not None:
        return recipe
    measured = replace(measured, sha256=setting.partition(MARK)[2] or UNPINNED)
    return replace(recipe, evaluation=replace(recipe.evaluation, core_metric=measured))
