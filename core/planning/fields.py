"""Fields by dotted path: two identities or recipes are compared leaf by leaf, so every difference has one name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from artifacts.encoding import canonical


@dataclass(frozen=True, kw_only=True)
class FieldChange:
    """One leaf that is not the same on both sides; `ABSENT` where a side does not have it."""

    field: str  # dotted, e.g. optimization.matrices.peak_rate
    before: object
    after: object

    def __str__(self) -> str:
        return f"{self.field}: {written(self.before)} -> {written(self.after)}"


class Absent:
    """What a side holds that has no such field; not None, which is a value."""

    def __repr__(self) -> str:
        return "(not there)"


ABSENT = Absent()


def flatten(value: object) -> dict[str, object]:
    """Leaves of `canonical(value)` by dotted path, in order; a list of plain values is one leaf."""
    return _leaves(canonical(value), "")


def changes(before: object, after: object) -> tuple[FieldChange, ...]:
    """The leaves that differ. `1` and `1.0` differ, as they do in a key."""
    old, new = flatten(before), flatten(after)
    return tuple(
        FieldChange(field=field, before=old.get(field, ABSENT), after=new.get(field, ABSENT))
        for field in dict.fromkeys([*old, *new])
        if repr(old.get(field, ABSENT)) != repr(new.get(field, ABSENT))
    )


def written(value: object) -> str:
    """A value as people read it: text bare, None as `none`, whole numbers with separators."""
    if isinstance(value, bool) or value is None:
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return ", ".join(written(item) for item in value) or "(empty)"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _leaves(value: object, path: str) -> dict[str, object]:
    if isinstance(value, Mapping):
        children = [(f"{path}.{name}" if path else name, child) for name, child in value.items()]
    elif isinstance(value, list) and any(isinstance(item, (Mapping, list)) for item in value):
        children = [(f"{path}[{index}]", child) for index, child in enumerate(value)]
    else:
        return {path: value}
    found: dict[str, object] = {}
    for place, child in children:
        found |= _leaves(child, place)
    return found or {path: value}
