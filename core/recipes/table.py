"""The one table of recipes: every tag that `miniseries` knows, in the order people expect to read them.

The tiny family, the 20 of the miniseries, the bidirectional d20, and the cells of the users' series that
MINISERIES_SERIES names (files, separated as in PATH). A process reads a series file once: a run that takes days goes on
with what it began with.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from core.recipes import bidirectional, miniseries, tiny
from core.recipes.recipe import Recipe, RecipeError
from core.recipes.series.cells import Cell, cells_of
from core.recipes.series.definition import read_definition

SERIES_VARIABLE = "MINISERIES_SERIES"


def recipes() -> dict[str, Recipe]:
    """Tag -> recipe. Raises `SeriesError` for a series file that is not there or not right."""
    named = os.environ.get(SERIES_VARIABLE, "")
    return _with_series(named) if named else _families()


def series_cells() -> Mapping[str, Cell]:
    """Tag -> cell of the users' series that are named now; empty when none is."""
    return _cells(os.environ.get(SERIES_VARIABLE, ""))


def chosen_family() -> list[str]:
    """What `--all` means: the cells of the users' series if any is named, else the 20 models of the miniseries."""
    return list(series_cells()) or [recipe.tag for recipe in miniseries.recipes()]


def read_series(path: Path) -> list[Cell]:
    """The cells of one more series file, beside the tags that are known without any."""
    return cells_of(read_definition(path), _families().values())


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


@cache
def _families() -> dict[str, Recipe]:
    families = [*tiny.recipes(), *miniseries.recipes(), *bidirectional.recipes()]
    return {recipe.tag: recipe for recipe in families}


@cache
def _with_series(named: str) -> dict[str, Recipe]:
    return {**_families(), **{tag: cell.recipe for tag, cell in _cells(named).items()}}


@cache
def _cells(named: str) -> dict[str, Cell]:
    found: dict[str, Cell] = {}
    for text in filter(None, named.split(os.pathsep)):
        known = [*_families().values(), *(cell.recipe for cell in found.values())]
        found |= {cell.recipe.tag: cell for cell in cells_of(read_definition(Path(text)), known)}
    return found
