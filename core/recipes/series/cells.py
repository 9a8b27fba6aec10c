"""The cells of a series: one recipe for each combination of axis values, with a tag that spells it.

Tag = the series' name and the value of every axis, in the family's style: `study_d4_20tpp_drope_50_long`. It depends on
the cell's own values only, so adding a value to an axis renames nobody. What goes without saying (RoPE throughout,
no long fine-tune) is not spelled.

The trunk is named after the axes that decide it, so cells that differ in drope or fine-tune share it.
A trunk that a known recipe has already keeps that recipe's name: the same key is the same artifact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from core.recipes.recipe import Recipe
from core.recipes.series.bases import build_recipe
from core.recipes.series.coordinates import find_coordinate, place
from core.recipes.series.definition import Definition
from core.recipes.series.errors import SeriesError

MOST_CELLS = 1000
LONGEST_TAG = 79  # the Hub allows 96 characters for `nanochat-<tag>-hf-base`


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One model of a series: its recipe, and the coordinates that its axes gave it."""

    definition: Definition
    coordinates: Mapping[str, Any]
    recipe: Recipe


def cells_of(definition: Definition, known: Iterable[Recipe]) -> list[Cell]:
    """Every cell, last axis fastest; `known` are the recipes of other families and series.

    Raises `SeriesError` for a recipe that cannot be, a tag that is taken, and two cells that are one model.
    """
    path = definition.path
    count = prod(len(axis.values) for axis in definition.axes)
    if count > MOST_CELLS:
        raise SeriesError(f"{path}: the axes make {count:,} cells; {MOST_CELLS:,} at most, take some values out")
    known = list(known)
    cells = [_cell(definition, coordinates) for coordinates in _combinations(definition)]
    _check_distinct(path, cells)
    _check_free(path, cells, known)
    names = {_trunk_of(recipe): recipe.trunk for recipe in reversed(known)}
    return [
        replace(cell, recipe=replace(cell.recipe, trunk=names.get(_trunk_of(cell.recipe), cell.recipe.trunk)))
        for cell in cells
    ]


def _combinations(definition: Definition) -> Iterator[dict[str, Any]]:
    names = [axis.coordinate.name for axis in definition.axes]
    for values in product(*(axis.values for axis in definition.axes)):
        yield dict(zip(names, values, strict=True))


def _cell(definition: Definition, coordinates: dict[str, Any]) -> Cell:
    values = {**definition.settings, **coordinates}
    tag = "_".join([definition.name, *_spelled(coordinates, coordinates)])
    if len(tag) > LONGEST_TAG:
        raise SeriesError(
            f"{definition.path}: the tag {tag} has {len(tag)} characters, {LONGEST_TAG} at most; shorten name, or move "
            "an axis with one value to set"
        )
    try:
        recipe = build_recipe(definition.base, values, tag=tag, trunk=_trunk_name(definition, coordinates))
    except ValueError as error:
        raise SeriesError(f"{definition.path}: cell {tag}: {str(error).removeprefix(f'{tag}: ')}") from error
    return Cell(definition=definition, coordinates=coordinates, recipe=recipe)


def _trunk_name(definition: Definition, coordinates: dict[str, Any]) -> str:
    """As the family calls it where its laws decide all but depth and horizon: series that meet there share."""
    values = {**definition.settings, **coordinates}
    deciding = {name for name in values if find_coordinate(name).names_trunk}
    if definition.base.name == "miniseries" and deciding == {"depth", "tpp"}:
        return "_".join(_spelled(values, deciding))
    return "_".join([definition.name, *_spelled(coordinates, deciding)])


def _spelled(values: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """How a tag spells those of `values` that are among `names`, in the order of tags."""
    chosen = sorted(set(names) & set(values), key=place)
    return [text for name in chosen if (text := find_coordinate(name).spell(values[name]))]


def _trunk_of(recipe: Recipe) -> tuple[object, ...]:
    """What two recipes have in common if their trunk segments have one key."""
    corpus = replace(recipe.corpus, tokens_per_shard=0)
    return recipe.architecture, recipe.tokenizer, corpus, replace(recipe.pretraining, rope_drop=None)


def _check_distinct(path: Path, cells: list[Cell]) -> None:
    """No two cells are one model, and no two names of a trunk are one trunk: adding a value could rename it."""
    trunks: dict[tuple[object, ...], Recipe] = {}
    models: dict[Recipe, Recipe] = {}
    for recipe in (cell.recipe for cell in cells):
        twin = trunks.setdefault(_trunk_of(recipe), recipe)
        same = models.setdefault(replace(recipe, tag=""), recipe)
        if twin.trunk != recipe.trunk or same is not recipe:
            other = twin if twin.trunk != recipe.trunk else same
            raise SeriesError(f"{path}: {other.tag} and {recipe.tag} are the same model; take one of the values out")


def _check_free(path: Path, cells: list[Cell], known: list[Recipe]) -> None:
    tags = {recipe.tag for recipe in known}
    trunks = {recipe.trunk: _trunk_of(recipe) for recipe in known}
    for cell in cells:
        recipe = cell.recipe
        if recipe.tag in tags:
            raise SeriesError(f"{path}: the tag {recipe.tag} is taken by another recipe; change name")
        if trunks.get(recipe.trunk, _trunk_of(recipe)) != _trunk_of(recipe):
            raise SeriesError(f"{path}: the trunk {recipe.trunk} is another recipe's; change name")
