"""A series file, read and checked: its base, its axes with their values, and what it sets for all cells.

    name: study
    base: tiny
    axes:
      steps: [120, 240]
      drope: [null, 50]
    set:
      pretraining.optimization.matrices.peak_rate: 0.03

`set` may also be nested (`pretraining: {seed: 7}`). The name begins every tag and names the artifacts: rename a series
and it is made again, of which `miniseries run` warns. Nothing is ignored: an unknown name, a value of another type, an
empty axis or a value that stands twice is a `SeriesError` that names file, place, and what is allowed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from core.recipes.series.bases import BASES, Base
from core.recipes.series.coordinates import NAMED, Coordinate, find_coordinate, place
from core.recipes.series.corpora import seen_from
from core.recipes.series.errors import SeriesError, unknown
from core.recipes.series.fields import FieldError
from core.recipes.series.yaml_file import read_yaml

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


class _File(BaseModel):
    """The outermost level of a series file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    base: str
    axes: dict[str, list[Any]]
    set: dict[str, Any] = {}


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One coordinate and the values that cells take, in the order of the file."""

    coordinate: Coordinate
    values: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A series as its file describes it, every value of the right type."""

    path: Path
    name: str
    base: Base
    axes: tuple[Axis, ...]  # in the order in which tags spell them
    settings: dict[str, Any]  # coordinate -> value, for every cell


def read_definition(path: Path) -> Definition:
    """Read and check the series file at `path`."""
    file = _outermost(path, read_yaml(path))
    if not NAME.fullmatch(file.name):
        raise SeriesError(f"{path}: name: {file.name!r} cannot begin a tag; use a-z, 0-9 and single _, a letter first")
    if file.base not in BASES:
        raise SeriesError(f"{path}: base: {unknown(file.base, BASES, what='base recipe')}")
    base = BASES[file.base]
    settings = {
        name: _value(path, f"set.{name}", base, _coordinate(path, "set", name), value)
        for name, value in _flattened(file.set).items()
    }
    axes = [_axis(path, base, name, values) for name, values in file.axes.items()]
    definition = Definition(
        path=path,
        name=file.name,
        base=base,
        axes=tuple(sorted(axes, key=lambda axis: place(axis.coordinate.name))),
        settings=settings,
    )
    _check_together(definition)
    return definition


def _outermost(path: Path, values: object) -> _File:
    if not isinstance(values, dict):
        raise SeriesError(f"{path} holds no mapping; write name:, base: and axes:")
    known = list(_File.model_fields)
    for name in values:
        if name not in known:
            raise SeriesError(f"{path}: {unknown(name, known, what='field')}")
    try:
        return _File.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        said = {
            "missing": "is missing",
            "list_type": "must be a list of values in [ ]",
            "dict_type": "must be a mapping of names to values",
            "string_type": "must be text",
        }.get(first["type"], first["msg"])
        raise SeriesError(f"{path}: {where} {said}") from error


def _axis(path: Path, base: Base, name: str, values: list[Any]) -> Axis:
    coordinate = _coordinate(path, "axes", name)
    if not values:
        raise SeriesError(f"{path}: axes.{name} is empty; give it at least one value, or take it out")
    checked: list[Any] = []
    spelled: dict[str, int] = {}
    for index, value in enumerate(values):
        where = f"axes.{name}[{index}]"
        checked.append(_value(path, where, base, coordinate, value))
        try:
            spelling = coordinate.spell(checked[-1])
        except FieldError as error:
            raise SeriesError(f"{path}: {where}: {error}") from error
        if spelling in spelled:
            raise SeriesError(f"{path}: {where}: {value!r} stands in axes.{name}[{spelled[spelling]}] already")
        spelled[spelling] = index
    return Axis(coordinate=coordinate, values=tuple(checked))


def _coordinate(path: Path, section: str, name: str) -> Coordinate:
    try:
        return find_coordinate(name)
    except FieldError as error:
        raise SeriesError(f"{path}: {section}: {error}") from error


def _value(path: Path, where: str, base: Base, coordinate: Coordinate, value: object) -> Any:
    try:
        checked = coordinate.check(value)
        if coordinate.name == "corpus":
            checked = seen_from(path.parent, checked)
        base.check(coordinate.name, checked)
    except FieldError as error:
        raise SeriesError(f"{path}: {where}: {error}") from error
    return checked


def _check_together(definition: Definition) -> None:
    """What no single field can tell: one place for each coordinate, and exactly one horizon."""
    path = definition.path
    axes = [axis.coordinate.name for axis in definition.axes]
    both = [name for name in axes if name in definition.settings]
    if both:
        raise SeriesError(f"{path}: {both[0]} is in axes and in set; keep one")
    given = {*axes, *definition.settings}
    if {"tpp", "steps"} <= given:
        raise SeriesError(f"{path}: tpp and steps both decide the horizon; keep one")
    decided = given | set(definition.base.defaults)
    if "depth" not in decided:
        raise SeriesError(f"{path}: depth is missing; base {definition.base.name} needs it in axes or set")
    if not {"tpp", "steps"} & decided:
        raise SeriesError(f"{path}: tpp is missing; base {definition.base.name} needs it (or steps) in axes or set")
    makes_long = definition.settings.get("long") or any(
        axis.coordinate.name == "long" and True in axis.values for axis in definition.axes
    )
    idle = [name for name in given if name.startswith("long_finetuning.")]
    if idle and not makes_long:
        raise SeriesError(f"{path}: {idle[0]} decides nothing without a long fine-tune; add long: [true]")


def _flattened(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted paths."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        path = f"{prefix}{name}"
        found |= _flattened(value, f"{path}.") if isinstance(value, dict) and path not in NAMED else {path: value}
    return found
