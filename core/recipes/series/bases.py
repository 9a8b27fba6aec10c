"""The families that a series can vary, and how coordinates become a recipe by the family's own laws.

Architecture first, then the batch, the rates and the horizon that follow from it, then the fine-tunes: a field that
the series sets replaces what a law gave before anything else is derived from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from core.data.corpus import python_docs
from core.model.architecture import Architecture
from core.recipes import miniseries, tiny
from core.recipes.member import Member
from core.recipes.optimization import Optimization, family_batch_tokens, family_optimization
from core.recipes.recipe import Recipe
from core.recipes.series.coordinates import NAMED
from core.recipes.series.corpora import corpus_of
from core.recipes.series.fields import FieldError, replaced

Values = Mapping[str, Any]  # coordinate -> checked value

ARCHITECTURE = "architecture."
OPTIMIZATION = "pretraining.optimization."
SEEDS = ("pretraining.seed", "finetuning.seed", "long_finetuning.seed")


@dataclass(frozen=True, kw_only=True)
class Base:
    """One family: its laws, and what its models are when a series does not say."""

    name: str
    depths: range
    defaults: Values
    head_width: int
    architecture: Callable[[int, int | None], Architecture]  # of a depth, and a width that is not the law's
    batch_tokens: Callable[[Architecture], int]
    optimization: Callable[[Architecture, int], Optimization]
    recipe: Callable[[Member], Recipe]

    def check(self, name: str, value: Any) -> None:
        """Raise `FieldError` when this family has no such models."""
        if name == "depth" and value not in self.depths:
            raise FieldError(
                f"{value} is not allowed; base {self.name} has depths {self.depths[0]} to {self.depths[-1]}"
            )
        if name == "width" and value % self.head_width:
            below = value // self.head_width * self.head_width
            near = f"{below} or {below + self.head_width}" if below else f"{self.head_width}"
            raise FieldError(f"{value} is no whole number of heads of {self.head_width}; choose {near}")


BASES = {
    base.name: base
    for base in (
        Base(
            name="tiny",
            depths=range(1, 35),
            defaults={"depth": tiny.DEPTH, "steps": tiny.STEPS, "corpus": python_docs.NAME},
            head_width=tiny.HEAD_WIDTH,
            architecture=tiny.tiny_architecture,
            batch_tokens=lambda _architecture: tiny.BATCH_TOKENS,
            optimization=lambda _architecture, _batch_tokens: tiny.OPTIMIZATION,
            recipe=tiny.tiny_recipe,
        ),
        Base(
            name="miniseries",
            depths=range(4, 35),
            defaults={"corpus": miniseries.CLIMBMIX.source},
            head_width=miniseries.HEAD_WIDTH,
            architecture=miniseries.family_architecture,
            batch_tokens=family_batch_tokens,
            optimization=family_optimization,
            recipe=miniseries.family_recipe,
        ),
    )
}


def build_recipe(base: Base, given: Values, *, tag: str, trunk: str) -> Recipe:
    """The recipe at these coordinates. Raises `ValueError` (a `RecipeError` is one) for what cannot be trained."""
    values = {**base.defaults, **given}
    architecture = _architecture(base, values)
    batch_tokens = values.get("batch_tokens") or base.batch_tokens(architecture)
    optimization = replaced(base.optimization(architecture, batch_tokens), _below(OPTIMIZATION, values))
    drop = values.get("drope")
    member = Member(
        tag=tag,
        trunk=trunk,
        architecture=architecture,
        corpus=corpus_of(values["corpus"], values.get("shards")),
        steps=_steps(given, values, architecture, batch_tokens),
        batch_tokens=batch_tokens,
        optimization=optimization,
        rope_drop=None if drop is None else drop / 100,
        long=values.get("long", False),
    )
    return replaced(base.recipe(member), _remaining(values))


def _architecture(base: Base, values: Values) -> Architecture:
    architecture = base.architecture(values["depth"], values.get("width"))
    own = {"vocabulary_size": values.get("vocabulary"), "sequence_length": values.get("sequence_length")}
    chosen = {name: value for name, value in own.items() if value is not None}
    return replace(architecture, **chosen, **_below(ARCHITECTURE, values))


def _steps(given: Values, values: Values, architecture: Architecture, batch_tokens: int) -> int:
    """`tpp`, if the series gives one, goes before the family's default number of steps."""
    if "tpp" in given:
        return miniseries.horizon(architecture, given["tpp"], batch_tokens)
    steps: int = values["steps"]
    return steps


def _remaining(values: Values) -> dict[str, object]:
    """Recipe fields that nothing else is derived from, by path; `seed` is all seeds that are not set singly."""
    seeds = dict.fromkeys(SEEDS, values["seed"]) if "seed" in values else {}
    fields = {
        path: value
        for path, value in values.items()
        if path not in NAMED and not path.startswith((ARCHITECTURE, OPTIMIZATION))
    }
    return {**seeds, **fields}


def _below(prefix: str, values: Values) -> dict[str, Any]:
    return {path.removeprefix(prefix): value for path, value in values.items() if path.startswith(prefix)}
