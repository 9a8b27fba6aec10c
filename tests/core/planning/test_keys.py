"""What makes a key, and what cannot: the property that everything cached rests on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from specifications import specification_of

from core.planning.pipeline import pipeline_stages
from core.planning.stage import Stage
from core.recipes.recipe import Recipe
from core.recipes.table import recipes
from core.stages.runtime import Runtime

TINY = recipes()["tiny_drope_50_long"]


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every scalar field below a dataclass, with its path."""
    for field in dataclasses.fields(value):
        child = getattr(value, field.name)
        if dataclasses.is_dataclass(child):
            yield from leaves(child, (*path, field.name))
        else:
            yield (*path, field.name), child


def different(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value * 1.5 + 0.25
        case str():
            return value + "x"
        case tuple():
            return value[:-1] if value else ("x",)
        case None:
            return 0.5
    raise AssertionError(f"no different value for {value!r}")


def downstream(stage: Stage, stages: list[Stage]) -> set[str]:
    """Keys of `stage` and of everything made from it."""
    found = {stage.key}
    for other in stages:  # in order: needs first
        if any(need.key in found for need in other.inputs.values()):
            found.add(other.key)
    return found


STAGES = pipeline_stages(TINY)
FIELDS = [(index, path) for index, stage in enumerate(STAGES) for path, _ in leaves(stage.identity)]


def rebuilt(stage: Stage, index: int, identity: Any, memo: dict[str, Stage]) -> Stage:
    """The same DAG with another identity at the stage that stands at `index`."""
    if stage.key not in memo:
        memo[stage.key] = dataclasses.replace(
            stage,
            identity=identity if stage.key == STAGES[index].key else stage.identity,
            inputs={role: rebuilt(need, index, identity, memo) for role, need in stage.inputs.items()},
        )
    return memo[stage.key]


@given(st.sampled_from(FIELDS))
def test_a_changed_identity_field_changes_exactly_the_keys_downstream_of_it(field: tuple[int, tuple[str, ...]]) -> None:
    index, path = field
    old = dict(leaves(STAGES[index].identity))[path]
    identity = with_field(STAGES[index].identity, path, different(old))
    memo: dict[str, Stage] = {}
    new = [rebuilt(stage, index, identity, memo) for stage in STAGES]
    moved = {before.key for before, after in zip(STAGES, new, strict=True) if before.key != after.key}
    assert moved == downstream(STAGES[index], STAGES)


def with_field(value: Any, path: tuple[str, ...], new: Any) -> Any:
    """A copy with one field replaced, past the class's own validation: a key must move for a senseless value too."""
    head, *rest = path
    copy = object.__new__(type(value))
    for field in dataclasses.fields(value):
        object.__setattr__(copy, field.name, getattr(value, field.name))
    object.__setattr__(copy, head, with_field(getattr(value, head), tuple(rest), new) if rest else new)
    return copy


def test_no_runtime_setting_can_reach_a_key() -> None:
    runtime_fields = {field.name for field in dataclasses.fields(Runtime)}
    identity_fields = {path[-1] for stage in STAGES for path, _ in leaves(stage.identity)}
    assert not runtime_fields & identity_fields
    observed = {stage.key for stage in STAGES for stage in stage.observed.values()}
    assert observed, "training must observe a validation stream without being made from it"


def test_what_comes_after_training_changes_no_training_key() -> None:
    other = dataclasses.replace(
        TINY,
        evaluation=dataclasses.replace(TINY.evaluation, samples=99),
        publication=dataclasses.replace(TINY.publication, namespace="elsewhere"),
    )
    after = {"evaluate", "export_native", "export_hf", "publish"}

    def keys(recipe: Recipe) -> dict[str, str]:
        return {stage.address.folder: stage.key for stage in pipeline_stages(recipe) if stage.kind.value not in after}

    assert keys(other) == keys(TINY)


def test_keys_are_the_same_in_every_process_and_on_every_day() -> None:
    """Golden: a change here would retrain every model that exists; raise a stage version on purpose or revert."""
    keys = {
        stage.kind.value: stage.key[:12]
        for stage in pipeline_stages(recipes()["d18_9tpp_drope_50"])
        if stage.kind.value in ("tokenizer", "recalibrate", "sft")
    }
    assert keys == GOLDEN


GOLDEN = {"tokenizer": "543b8bda946f", "recalibrate": "f99b853cf0ac", "sft": "4d78d14d5d49"}


@pytest.mark.parametrize("tag", ["tiny_drope_50_long", "d20_40tpp_long", "d20_bidirectional"])
def test_an_identity_survives_the_trip_to_a_stage_process(tag: str) -> None:
    for stage in pipeline_stages(recipes()[tag]):
        specification = specification_of(stage, Runtime())
        assert specification.typed_identity() == stage.identity
