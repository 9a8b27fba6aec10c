"""What a series can vary or set: named coordinates that the family's laws start from, and any other recipe field.

A coordinate says which values it takes and how a tag spells them. The spelling depends on nothing but the value, so
adding a value to an axis renames no other cell; the order of coordinates in a tag is fixed here, not by the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter

from core.recipes.series.corpora import checked_corpus, spelled_corpus
from core.recipes.series.errors import unknown
from core.recipes.series.fields import DECIDED_ELSEWHERE, FieldError, checked, field_types, parsed

SPELLING = re.compile(r"[A-Za-z0-9_.]+")
BESIDE_PRETRAINING = ("corpus.tokens_per_shard", "finetuning.", "long_finetuning.", "evaluation.", "publication.")

Positive = Annotated[int, Field(ge=1)]
Above0 = Annotated[float, Field(gt=0)]
CorpusName = Annotated[str, AfterValidator(checked_corpus)]


@dataclass(frozen=True, kw_only=True)
class Coordinate:
    """One thing that cells differ in. `names_trunk`: models that differ in it cannot share a RoPE-on prefix's name."""

    name: str
    check: Callable[[object], Any]  # the value as its own type; raises FieldError with what is allowed
    spell: Callable[[Any], str]  # its part of a tag; empty: the value that goes without saying
    names_trunk: bool


def _coordinate(name: str, kind: Any, spell: Callable[[Any], str], *, names_trunk: bool = True) -> Coordinate:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    return Coordinate(name=name, check=lambda value: parsed(adapter, value), spell=spell, names_trunk=names_trunk)


# In the order in which tags spell them: before and after the fields of `_field_coordinate`.
BEFORE_FIELDS = (
    _coordinate("depth", Positive, lambda depth: f"d{depth}"),
    _coordinate("width", Positive, lambda width: f"w{width}"),
    _coordinate("tpp", Above0, lambda tpp: f"{_number(tpp)}tpp"),
    _coordinate("steps", Positive, lambda steps: f"{steps}steps"),
    _coordinate("batch_tokens", Positive, lambda tokens: f"batch{tokens}"),
    _coordinate("sequence_length", Positive, lambda length: f"length{length}"),
    _coordinate("vocabulary", Positive, lambda size: f"vocabulary{size}"),
    _coordinate("corpus", CorpusName, spelled_corpus),
    _coordinate("shards", Positive, lambda shards: f"{shards}shards"),
)
AFTER_FIELDS = (
    _coordinate("seed", Annotated[int, Field(ge=0)], lambda seed: f"seed{seed}"),
    _coordinate(
        "drope",
        Literal[25, 50, 75, None],
        lambda drop: "" if drop is None else f"drope_{drop}",
        names_trunk=False,
    ),
    _coordinate("long", bool, lambda long: "long" if long else "", names_trunk=False),
)
NAMED = {coordinate.name: coordinate for coordinate in (*BEFORE_FIELDS, *AFTER_FIELDS)}


def find_coordinate(name: str) -> Coordinate:
    """The coordinate called `name`: a named one or a recipe field by dotted path. Raises `FieldError`."""
    if name in NAMED:
        return NAMED[name]
    if name not in field_types() and name not in DECIDED_ELSEWHERE:
        raise FieldError(unknown(name, [*NAMED, *field_types()], what="axis or recipe field"))
    return _field_coordinate(name)


def place(name: str) -> tuple[int, str]:
    """Sorts coordinates into the order of a tag."""
    for group, coordinates in ((0, BEFORE_FIELDS), (2, AFTER_FIELDS)):
        for index, coordinate in enumerate(coordinates):
            if coordinate.name == name:
                return group, f"{index:03d}"
    return 1, name


def _field_coordinate(path: str) -> Coordinate:
    """Tags spell a field by its path without `pretraining.` and `optimization.`, with `_` for dots, and its value."""
    parts = [part for part in path.split(".") if part not in ("pretraining", "optimization")]

    def spell(value: object) -> str:
        text = f"{'_'.join(parts)}_{_number(value)}"
        if not isinstance(value, (bool, int, float, str, type(None))) or not SPELLING.fullmatch(text):
            raise FieldError(f"no tag can spell {value!r}; give it in `set`, not in `axes`")
        return text

    return Coordinate(
        name=path,
        check=lambda value: checked(path, value),
        spell=spell,
        names_trunk=not path.startswith(BESIDE_PRETRAINING),
    )


def _number(value: object) -> str:
    """As YAML writes it, without the signs that a tag cannot hold: 20, 2.5, 1e_05, none."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    text = value if isinstance(value, str) else repr(value).removesuffix(".0")
    return text.replace("-", "_").replace("+", "")
