"""Every recipe field that a series may set, by dotted path, with its type; found by walking the dataclasses.

A field that something else decides (the width by the depth, the horizon by tokens-per-parameter) is not among them:
asking for it is answered with the name to use instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from core.recipes.recipe import MixtureTask, Recipe
from core.recipes.series.errors import unknown

ValueT = TypeVar("ValueT")

# path -> what to write instead
DECIDED_ELSEWHERE = {
    "tag": "name, and the axes",
    "trunk": "name, and the axes",
    "architecture.depth": "depth",
    "architecture.width": "width",
    "architecture.vocabulary_size": "vocabulary",
    "architecture.sequence_length": "sequence_length",
    "tokenizer.vocabulary_size": "vocabulary",
    "corpus.source": "corpus",
    "corpus.revision": "corpus: source@revision",
    "corpus.training_shards": "shards",
    "corpus.validation_shard": "corpus",
    "corpus.collected_at_once": "corpus",
    "pretraining.steps": "steps or tpp",
    "pretraining.batch_tokens": "batch_tokens",
    "pretraining.rope_drop": "drope",
    "pretraining.direction": "nothing: a series is of models that read forward",
}


class FieldError(ValueError):
    """A path or a value that no recipe has: one phrase, to which the reader of the file adds where it stands."""


@cache
def field_types() -> Mapping[str, Any]:
    """Type of every settable field by dotted path."""
    return {path: kind for path, kind in _walk(Recipe, "").items() if path not in DECIDED_ELSEWHERE}


def checked(path: str, value: object) -> Any:
    """`value` as the type of the field at `path`. Raises `FieldError` that says what would be allowed."""
    if path in DECIDED_ELSEWHERE:
        raise FieldError(f"{path} is not set directly; set {DECIDED_ELSEWHERE[path]}")
    if path not in field_types():
        raise FieldError(unknown(path, field_types(), what="recipe field"))
    if isinstance(value, (int, float)) and value < 0:
        raise FieldError(f"{value} is not allowed; no recipe holds a number below 0")
    result = parsed(TypeAdapter(field_types()[path]), value)
    if field_types()[path] == tuple[MixtureTask, ...]:
        _check_tasks(result)
    return result


def parsed(adapter: TypeAdapter[ValueT], value: object) -> ValueT:
    """`value` by `adapter`, without turning one type into another. Raises `FieldError`."""
    try:
        return adapter.validate_json(json.dumps(value), strict=True, extra="forbid")
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
        raise FieldError(f"{place} {_said(first)}".strip()) from error


def _said(error: ErrorDetails) -> str:
    """What pydantic found, in the words of a series file."""
    if error["type"] == "unexpected_keyword_argument":
        return "is no field of it"
    if error["type"] in ("missing", "missing_argument"):
        return "is missing"
    text = error["msg"].replace("Input should be", "must be").replace("None", "null").removeprefix("Value error, ")
    return f"{text}, not {json.dumps(error['input'])}"


def replaced(value: ValueT, news: Mapping[str, object]) -> ValueT:
    """A copy of a dataclass with fields at dotted paths replaced, all at once; a part that is None stays None."""
    parts: dict[str, dict[str, object]] = {}
    own: dict[str, object] = {}
    for path, new in news.items():
        name, _, rest = path.partition(".")
        if rest:
            parts.setdefault(name, {})[rest] = new
        else:
            own[name] = new
    for name, inner in parts.items():
        part = getattr(value, name)
        own[name] = None if part is None else replaced(part, inner)
    return replace(value, **own)  # type: ignore[type-var]


def _check_tasks(mixture: tuple[MixtureTask, ...]) -> None:
    # here, because only a series with a mixture of its own needs them
    from core.posttraining.tasks.conversation_file import SCHEME
    from core.posttraining.tasks.table import TASKS

    for task in mixture:
        if task.name not in TASKS and not task.name.startswith(f"{SCHEME}:"):
            raise FieldError(unknown(task.name, TASKS, what="fine-tuning task"))


def _walk(owner: type, prefix: str) -> dict[str, Any]:
    hints = get_type_hints(owner)
    found: dict[str, Any] = {}
    for field in fields(owner):
        kind, path = hints[field.name], f"{prefix}{field.name}"
        inner = _dataclass_in(kind)
        found |= {path: kind} if inner is None else _walk(inner, f"{path}.")
    return found


def _dataclass_in(kind: Any) -> type | None:
    """The dataclass that a field holds, if it holds one or None; None for any other type."""
    choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    found = [choice for choice in choices if isinstance(choice, type) and is_dataclass(choice)]
    return found[0] if found else None
