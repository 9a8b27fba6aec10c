"""The one table of recipes: every tag that `miniseries` knows, in the order people expect to read them.

The tiny family, the 20 of the miniseries, the bidirectional d20, and the cells of the users' series that
MINISERIES_SERIES names (files, separated as in PATH). A process reads a series file once: a run that takes days goes on
with what it began with. MINISERIES_CORE_BUNDLE pins the bundle of tasks that their CORE is measured on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from core.recipes import bidirectional, miniseries, tiny
from core.recipes.core_bundle import VARIABLE as BUNDLE_VARIABLE
from core.recipes.core_bundle import pinned
from core.recipes.recipe import Recipe, RecipeError
from core.recipes.series.cells import Cell, cells_of
from core.recipes.series.definition import read_definition

SERIES_VARIABLE = "MINISERIES_SERIES"


def recipes() -> dict[str, Recipe]:
    """Tag -> recipe. Raises `SeriesError` for a series file that is not there or not right."""
    named, bundle = _named()
    return _with_series(named, bundle) if named else _families(bundle)


def series_cells() -> Mapping[str, Cell]:
    """Tag -> cell of the users' series that are named now; empty when none is."""
    return _cells(*_named())


def chosen_family() -> list[str]:
    """What `--all` means: the cells of the users' series if any is named, else the 20 models of the miniseries."""
    return list(series_cells()) or [recipe.tag for recipe in miniseries.recipes()]


def read_series(path: Path) -> list[Cell]:
    """The cells of one more series file, beside the tags that are known without any."""
    _, bundle = _named()
    return _read_cells(path, _families(bundle).values(), bundle)


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


def _named() -> tuple[str, str]:
    """The series files, and the bundle of CORE's tasks with the digest that pins it."""
    return os.environ.get(SERIES_VARIABLE, ""), os.environ.get(BUNDLE_VARIABLE, "")


@cache
def _families(bundle: str) -> dict[str, Recipe]:
    families = [*tiny.recipes(), *miniseries.recipes(), *bidirectional.recipes()]
    return {recipe.tag: pinned(recipe, bundle) for recipe in families}


@cache
def _with_series(named: str, bundle: str) -> dict[str, Recipe]:
    return {**_families(bundle), **{tag: cell.recipe for tag, cell in _cells(named, bundle).items()}}


@cache
def _cells(named: str, bundle: str) -> dict[str, Cell]:
    found: dict[str, Cell] = {}
    for text in filter(None, named.split(os.pathsep)):
        known = [*_families(bundle).values(), *(cell.recipe for cell in found.values())]
        found |= {cell.recipe.tag: cell for cell in _read_cells(Path(text), known, bundle)}
    return found


def _read_cells(path: Path, known: Iterable[Recipe], bundle: str) -> list[Cell]:
    cells = cells_of(read_definition(path), known)
    return [replace(cell, recipe=pinned(cell.recipe, bundle)) for cell in cells]
