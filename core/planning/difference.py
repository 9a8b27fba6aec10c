"""Two recipes compared, field by field and stage by stage: which keys differ and why, what is to be made, its cost.

Stages are paired by what they are for (the second segment, the fine-tune's export), not by name or key, so a changed
recipe of one tag is compared like two tags are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from core.planning.catalogue import known_folders
from core.planning.cost import Cost, stage_cost
from core.planning.fields import ABSENT, FieldChange, changes
from core.planning.pipeline import pipeline_stages
from core.planning.progress import Survey, required
from core.planning.stage import Stage
from core.planning.title import title
from core.recipes.recipe import Recipe
from core.stages.kind import StageKind

NAMES = frozenset({"tag", "trunk"})  # what people call a recipe; `tag` reaches a key only in publication
OF_A_MODEL = (
    *(StageKind.EVALUATE, StageKind.CORE_METRIC, StageKind.LONG_CONTEXT),
    *(StageKind.EXPORT_NATIVE, StageKind.EXPORT_HF, StageKind.EXPORT_TWIN),
)
Estimate = Callable[[Stage], Cost]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two stages for one purpose whose keys differ."""

    role: str
    before: Stage
    after: Stage

    @property
    def changes(self) -> tuple[FieldChange, ...]:
        """Fields of its own identity that differ; none when only its inputs do."""
        return changes(self.before.identity, self.after.identity)

    @property
    def changed_inputs(self) -> tuple[str, ...]:
        """Roles of inputs that are not the same, or not on both sides."""
        before, after = self.before.inputs, self.after.inputs
        return tuple(
            role
            for role in dict.fromkeys([*before, *after])
            if role not in before or role not in after or before[role].key != after[role].key
        )


@dataclass(frozen=True, kw_only=True)
class Difference:
    """From one recipe to another."""

    fields: tuple[FieldChange, ...]  # of the recipes, their names apart
    shared: tuple[Stage, ...]  # one key on both sides
    changed: tuple[Pair, ...]
    removed: tuple[Stage, ...]  # only before
    added: tuple[Stage, ...]  # only after

    @property
    def to_make(self) -> tuple[Stage, ...]:
        """What the recipe after needs and the one before does not give."""
        return (*(pair.after for pair in self.changed), *self.added)


def difference(before: Recipe, after: Recipe) -> Difference:
    """Compare two recipes and the stages that they plan."""
    olds, news = _by_role(before), _by_role(after)
    keys = {stage.key for stage in olds.values()}
    new_keys = {stage.key for stage in news.values()}
    pairs = [Pair(role=role, before=olds[role], after=stage) for role, stage in news.items() if role in olds]
    return Difference(
        fields=tuple(change for change in changes(before, after) if change.field not in NAMES),
        shared=tuple(stage for stage in news.values() if stage.key in keys),
        changed=tuple(pair for pair in pairs if pair.before.key != pair.after.key and pair.after.key not in keys),
        removed=tuple(stage for role, stage in olds.items() if role not in news and stage.key not in new_keys),
        added=tuple(stage for role, stage in news.items() if role not in olds and stage.key not in keys),
    )


def price(stages: Iterable[Stage], estimate: Estimate = stage_cost) -> Cost:
    """What making all of `stages` costs."""
    return sum((estimate(stage) for stage in stages), Cost())


def still_to_make(recipe: Recipe, survey: Survey) -> list[Stage]:
    """The stages of `recipe` that a run would make with what the store holds now."""
    stages = pipeline_stages(recipe)
    missing = required(stages, survey)
    return [stage for stage in stages if stage.key in missing]


def orphaned(earlier: Recipe, survey: Survey) -> list[Stage]:
    """Finished stages of `earlier` that no known tag reaches any more."""
    known = known_folders()
    found = []
    for stage in pipeline_stages(earlier):
        there = survey.get(stage.address.folder)
        if there is not None and there.committed and stage.address.folder not in known:
            found.append(stage)
    return found


def difference_listing(found: Difference) -> dict[str, object]:
    """The JSON shape of a comparison."""
    return {
        "fields": [change_listing(change) for change in found.fields],
        "changed": [
            {
                "role": pair.role,
                "before": stage_listing(pair.before),
                "after": stage_listing(pair.after),
                "fields": [change_listing(change) for change in pair.changes],
                "inputs": list(pair.changed_inputs),
            }
            for pair in found.changed
        ],
        "shared": [stage_listing(stage) for stage in found.shared],
        "removed": [stage_listing(stage) for stage in found.removed],
        "added": [stage_listing(stage) for stage in found.added],
        "to_make": cost_listing(price(found.to_make)),
    }


def change_listing(change: FieldChange) -> dict[str, object]:
    """A side that does not have the field is null."""
    sides = {"before": change.before, "after": change.after}
    return {"field": change.field, **{side: None if value is ABSENT else value for side, value in sides.items()}}


def stage_listing(stage: Stage) -> dict[str, object]:
    """A stage as a reference."""
    return {"key": stage.key, "kind": stage.kind.value, "name": stage.name, "title": title(stage)}


def cost_listing(cost: Cost) -> dict[str, object]:
    """Tokens, FLOPs, GPU-hours and money."""
    return {"tokens": cost.tokens, "flops": cost.flops, "gpu_hours": cost.gpu_hours, "cost": cost.dollars}


def _by_role(recipe: Recipe) -> Mapping[str, Stage]:
    """Every stage of a recipe by what it is for."""
    found: dict[str, Stage] = {}
    stages = pipeline_stages(recipe)
    tunings = [stage for stage in stages if stage.kind in (StageKind.SFT, StageKind.LONG_SFT)]
    purpose = {tuning.inputs["mixture"].key: tuning.kind.value for tuning in tunings}
    for stage in stages:
        role = f"{stage.kind.value} {_part(recipe, stage, purpose)}".strip()
        found[role] = stage
    return found


def _part(recipe: Recipe, stage: Stage, purpose: Mapping[str, str]) -> str:
    """Which of the stages of its kind it is."""
    match stage.kind:
        case StageKind.PRETRAIN:
            return f"segment {recipe.cuts.index(int(stage.name.rsplit('-', 1)[1])) + 1}"
        case StageKind.CORPUS | StageKind.PACK:
            return "-".join(stage.name.rsplit("-", 2)[1:])
        case StageKind.MIXTURE:
            return purpose[stage.key]
        case kind if kind in OF_A_MODEL:
            return stage.name.removeprefix(f"{recipe.base_tag}-")
    return ""
