"""The plan of one tag or many: the merged DAG, each shared stage once, with state, cost, and what sharing saves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from artifacts.lease_record import Holder
from artifacts.store import Found, Store
from artifacts.survey import Contents
from core.planning.calibration import chosen_speeds
from core.planning.catalogue import resolved_stages, stages_of
from core.planning.cost import Cost, stage_cost, unshared_cost
from core.planning.pretraining import base_stage
from core.planning.progress import Progress, Survey, progress_of
from core.planning.size import estimated_bytes
from core.planning.speed import ASSUMED, Basis, Speeds, pace_of, shape_of
from core.planning.stage import Stage, in_order
from core.planning.stream_length import PackedRows, StreamLength, measured_by, packed_in
from core.planning.study import contents_with_studies
from core.recipes.recipe import Recipe
from core.recipes.table import find_recipe
from core.stages.identity import TrainingIdentity


@dataclass(frozen=True, kw_only=True)
class Size:
    """Bytes of an artifact's files: as the store lists them, or as its shapes make expect. None: kilobytes."""

    bytes: int | None
    basis: Basis


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """One stage of a plan and the tags that need it."""

    stage: Stage
    tags: tuple[str, ...]
    progress: Progress
    cost: Cost  # from its beginning to its end, whatever exists of it
    remaining: Cost  # of what is still to be done: from its checkpoint, or nothing
    basis: Basis | None  # of its GPU-hours; None: it is counted as taking none
    size: Size
    length: StreamLength | None  # of the packed stream, for a stage that reads one


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every stage of a set of tags, needs before needers."""

    tags: tuple[str, ...]
    stages: tuple[PlannedStage, ...]
    unshared: Cost  # the distinct base models each trained alone, and the same fine-tunes
    speeds: Speeds  # that the GPU-hours follow from
    packed: PackedRows  # what was known of them, from which it follows how many shard groups there are
    until: str | None = None  # the deliverable that it ends with; None: it goes to the publication

    @property
    def total(self) -> Cost:
        """Everything, made or not."""
        return sum((planned.cost for planned in self.stages), Cost())

    @property
    def remaining(self) -> Cost:
        """What is still to be done."""
        return sum((planned.remaining for planned in self.stages), Cost())

    @property
    def done(self) -> Cost:
        """What exists already: finished stages, and unfinished ones up to their checkpoints."""
        return sum((_done(planned) for planned in self.stages), Cost())

    @property
    def saved(self) -> Cost:
        """What training every distinct base model alone would cost more."""
        return self.unshared - self.total

    @property
    def bases(self) -> frozenset[Basis]:
        """Where the speeds of its stages are known from; empty when no stage takes GPU-hours."""
        return frozenset(planned.basis for planned in self.stages if planned.basis is not None)


def plan_of(tags: Iterable[str], store: Store, gpu: str | None = None, until: str | None = None) -> Plan:
    """The plan of `tags` as `store` stands: one listing, and small reads of leases and calibrations, no artifact bytes.

    GPU-hours are of the device `gpu` (see `chosen_speeds`). `until` is a role of `core.planning.catalogue.deliverable`.
    Raises `RecipeError` for an unknown tag, device or role.
    """
    contents = contents_with_studies(store, store.contents())
    return plan_against(tags, store, contents, gpu, until)


def plan_against(
    tags: Iterable[str], store: Store, contents: Contents, gpu: str | None = None, until: str | None = None
) -> Plan:
    """The same against a listing that was made already."""
    recipes = [find_recipe(tag) for tag in tags]
    shapes = [shape for recipe in recipes for stage in stages_of(recipe.tag).values() if (shape := shape_of(stage))]
    speeds = chosen_speeds(store, contents.others, shapes, gpu)
    return make_plan(
        [recipe.tag for recipe in recipes],
        contents.artifacts,
        lambda stage: store.holder_of(stage.address),
        speeds,
        until,
    )


def make_plan(
    tags: Iterable[str],
    survey: Survey,
    holder: Callable[[Stage], Holder | None],
    speeds: Speeds = ASSUMED,
    until: str | None = None,
) -> Plan:
    """Merge the DAGs of `tags` and look up every stage in `survey`. Raises `RecipeError` for an unknown tag or role."""
    recipes = {recipe.tag: recipe for recipe in map(find_recipe, tags)}
    packed = packed_in(survey)
    resolve = measured_by(packed)
    owners: dict[str, list[str]] = {}
    leaves: list[Stage] = []
    for tag in recipes:
        for key, stage in resolved_stages(tag, resolve, until).items():
            owners.setdefault(key, []).append(tag)
            leaves.append(stage)
    progress = progress_of(stages := in_order(leaves, resolve), survey, holder)
    planned = tuple(
        _planned(stage, [recipes[tag] for tag in owners[stage.key]], progress[stage.key], survey, speeds, packed)
        for stage in stages
    )
    alone = {base_stage(recipe).key: unshared_cost(base_stage(recipe), recipe, speeds) for recipe in recipes.values()}
    finetunes = [one.cost for one in planned if not isinstance(one.stage.identity, TrainingIdentity)]
    unshared = sum((*alone.values(), *finetunes), Cost())
    return Plan(tags=tuple(recipes), stages=planned, unshared=unshared, speeds=speeds, packed=packed, until=until)


def _planned(
    stage: Stage, owners: list[Recipe], progress: Progress, survey: Survey, speeds: Speeds, packed: PackedRows
) -> PlannedStage:
    shape, step = pace_of(stage), progress.checkpoint_step or 0
    return PlannedStage(
        stage=stage,
        tags=tuple(recipe.tag for recipe in owners),
        progress=progress,
        cost=stage_cost(stage, speeds, packed=packed),
        remaining=stage_cost(stage, speeds, step, packed) if progress.needed else Cost(),
        basis=None if shape is None else speeds.of(shape).basis,
        size=_size(stage, owners[0], survey.get(stage.address.folder, Found())),
        length=None if stage.stream is None else stage.stream.length(packed),
    )


def _size(stage: Stage, recipe: Recipe, found: Found) -> Size:
    if found.committed and not found.damaged:
        return Size(bytes=found.bytes, basis="measured")
    return Size(bytes=estimated_bytes(stage, recipe), basis="assumed")


def _done(planned: PlannedStage) -> Cost:
    exists = planned.progress.state == "cached" or planned.progress.needed
    return planned.cost - planned.remaining if exists else Cost()
