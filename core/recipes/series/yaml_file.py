"""A YAML file as plain values: nothing is constructed but text, numbers, booleans, null, lists and mappings.

A key that stands twice is refused, because YAML would silently keep the last; so are aliases, which can describe
gigabytes in a line, and infinite numbers and NaN, which no key can hold. `1e-4` is a number, as in YAML 1.2.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import yaml

from core.recipes.series.errors import SeriesError


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader without dates and aliases, and with every key of a mapping once."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(problem="write the value out, aliases are not read", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value!r} stands twice, first in line {seen[key.value]}", problem_mark=key.start_mark
                )
            if isinstance(key, yaml.ScalarNode):
                seen[key.value] = line
        return super().construct_mapping(node, deep)


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(path: Path) -> object:
    """The one document in `path`; raise `SeriesError` when it is not there, not YAML, or holds anything but values."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SeriesError(f"{path}: {error.strerror}; name a series file that exists, or take it out") from error
    except UnicodeDecodeError as error:
        raise SeriesError(f"{path} is not UTF-8 text: byte {error.start} cannot be read") from error
    try:
        value = yaml.load(text, _PlainLoader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise SeriesError(f"{path}: {line}{error.problem or 'this is no YAML'}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise SeriesError(f"{path} is no YAML: {error}") from error
    _check_plain(path, value, "")
    return value


def _check_plain(path: Path, value: object, place: str) -> None:
    if isinstance(value, dict):
        for key, child in value.items():
            if not isinstance(key, str):
                raise SeriesError(f"{path}: {place or 'top'}: the name {key!r} is no text; put it in quotes")
            _check_plain(path, child, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _check_plain(path, child, f"{place}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise SeriesError(f"{path}: {place}: {value} is no number that a recipe can hold; use a finite one")
    elif value is not None and not isinstance(value, (bool, int, float, str)):
        raise SeriesError(f"{path}: {place}: a {type(value).__name__} is no value of a recipe; use text or numbers")
