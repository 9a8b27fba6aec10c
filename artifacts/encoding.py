"""Canonical JSON: one byte string for one value, whoever encodes it, or a refusal.

Keys are hashes of this encoding, so nothing may fall back to `str()`: a value that has no
canonical form (a set, a path, NaN, an arbitrary object) raises `NotCanonicalError` and names where it sits.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from enum import Enum


class NotCanonicalError(TypeError):
    """A value that cannot be written canonically stood in an identity."""


def canonical(value: object, where: str = "identity") -> object:
    """Return `value` as plain JSON types: dict with string keys, list, str, int, float, bool, None.

    Frozen dataclasses become objects of their fields, enums their values, tuples lists. An integer and
    a float stay distinct (`1` and `1.0`), because a recipe that changes one into the other did change.
    Raises `NotCanonicalError`, naming the path to the offending value.
    """
    if isinstance(value, Enum):
        return canonical(value.value, where)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotCanonicalError(f"{where}: {value!r} has no JSON form; use None or a finite number")
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: canonical(getattr(value, field.name), f"{where}.{field.name}")
            for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise NotCanonicalError(
                    f"{where}: key {key!r} is a {type(key).__name__}; only strings sort canonically"
                )
        return {key: canonical(value[key], f"{where}.{key}") for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [canonical(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise NotCanonicalError(
        f"{where}: a {type(value).__name__} has no canonical form; "
        "declare it as str, int, float, bool, None, tuple or frozen dataclass, or keep it out of the identity"
    )


def canonical_json(value: object) -> bytes:
    """UTF-8 bytes of `canonical(value)`: keys sorted, no white space, non-ASCII kept, floats by shortest repr."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def digest(value: object) -> str:
    """sha256 hex of the canonical JSON: 64 characters."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
