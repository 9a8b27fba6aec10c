"""Canonical JSON: equal values encode equally, unequal ones differently, and what has no canonical form is refused."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.encoding import NotCanonicalError, canonical, canonical_json, digest

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    width: int
    colour: Colour = Colour.RED


@dataclass(frozen=True)
class Outer:
    inner: Inner
    sizes: tuple[int, ...]


@given(VALUES)
def test_json_values_survive_and_encode_the_same_again(value: object) -> None:
    encoded = canonical_json(value)
    decoded = json.loads(encoded)
    assert decoded == value
    assert canonical_json(decoded) == encoded


@given(st.dictionaries(KEYS, VALUES, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(value: dict[str, object], random: object) -> None:
    names = list(value)
    random.shuffle(names)
    assert canonical_json({name: value[name] for name in names}) == canonical_json(value)


def typed(value: object) -> object:
    """`value` with the type of every scalar beside it: 1, 1.0 and True are three different things."""
    if isinstance(value, dict):
        return {name: typed(item) for name, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return (type(value).__name__, repr(value))


@given(VALUES, VALUES)
def test_different_values_encode_differently(one: object, other: object) -> None:
    assert (canonical_json(one) == canonical_json(other)) == (typed(one) == typed(other))


@given(VALUES)
def test_a_digest_is_the_sha256_of_the_encoding(value: object) -> None:
    assert digest(value) == hashlib.sha256(canonical_json(value)).hexdigest()


def test_dataclasses_enums_and_tuples_become_plain_json() -> None:
    value = Outer(Inner(3), (1, 2))
    assert canonical(value) == {"inner": {"width": 3, "colour": "red"}, "sizes": [1, 2]}
    assert canonical_json(value) == b'{"inner":{"colour":"red","width":3},"sizes":[1,2]}'


def test_text_is_kept_as_utf_8() -> None:
    assert canonical_json("gauß") == '"gauß"'.encode()


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, {1, 2}, b"bytes", Path("x"), object(), {1: "a"}, Outer]
)
def test_what_has_no_canonical_form_is_refused_with_its_place(value: object) -> None:
    with pytest.raises(NotCanonicalError, match=r"identity\.steps\[1\]"):
        canonical({"steps": [0, value]})


def test_another_process_with_another_hash_seed_agrees() -> None:
    code = "from artifacts.encoding import digest; print(digest({'b': [1, 2.5], 'a': {'y': None, 'x': 'ä'}}))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert seen == {digest({"a": {"x": "ä", "y": None}, "b": [1, 2.5]}) + "\n"}
