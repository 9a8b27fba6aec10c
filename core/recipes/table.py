"""The one table of recipes: every tag that `miniseries` knows, in the order people expect to read them."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache

from core.recipes import bidirectional, miniseries, tiny
from core.recipes.recipe import Recipe, RecipeError


@cache
def recipes() -> dict[str, Recipe]:
    """Tag -> recipe: the tiny family, the 20 of the miniseries, the bidirectional d20."""
    families = [*tiny.recipes(), *miniseries.recipes(), *bidirectional.recipes()]
    return {recipe.tag: recipe for recipe in families}


def canonical_tag(text: str) -> str:
    """`-` and `_` are the same on input: `d20-40tpp` names `d20_40tpp`."""
    return text.strip().replace("-", "_")


def find_recipe(text: str) -> Recipe:
    """Return the recipe named by `text`; raise `RecipeError` with the nearest known tags."""
    tag = canonical_tag(text)
    known = recipes()
    if tag not in known:
        near = get_close_matches(tag, known, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else "`miniseries recipes` lists them all."
        raise RecipeError(f"no recipe is called {text!r}: {hint}")
    return known[tag]
