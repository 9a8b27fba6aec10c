"""Tag and key to stage: the plan of each recipe is made once in a process and looked up from then on.

Which shard groups a tag has is an estimate until they are packed; by key, every group of its corpus is found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import cache
from itertools import islice

from core.planning.pipeline import pipeline_stages
from core.planning.stage import Resolve, Stage, in_order
from core.recipes.recipe import Recipe, RecipeError
from core.recipes.table import find_recipe, recipes
from core.stages.identity import ExportIdentity
from core.stages.kind import StageKind

GROUPS = (StageKind.CORPUS, StageKind.PACK)  # reached through what reads them
EVALUATIONS = (StageKind.EVALUATE, StageKind.CORE_METRIC, StageKind.LONG_CONTEXT)  # what a study is made from
EVALUATED, DELIVERED = "evaluated", "delivered"  # how far a tag can be made: to its evaluations, or all but published


def stages_of(tag: str) -> dict[str, Stage]:
    """Every stage of a tag by key, needs before needers. Raises `RecipeError` for an unknown tag."""
    return _stages(find_recipe(tag))


def resolved_stages(tag: str, resolve: Resolve, until: str | None = None) -> dict[str, Stage]:
    """The same with the shard groups that `resolve` gives each (see `core.planning.stream_length`).

    `until` leaves only what one deliverable needs, itself included; or what is EVALUATED or DELIVERED of a tag.
    """
    if until is None:
        leaves = [stage for stage in stages_of(tag).values() if stage.kind not in GROUPS]
    elif until == EVALUATED:
        leaves = evaluations_of(tag)
    elif until == DELIVERED:
        leaves = [*evaluations_of(tag), *publication(tag).inputs.values()]
    else:
        leaves = [deliverable(tag, until)]
    return {stage.key: stage for stage in in_order(leaves, resolve)}


def publication(tag: str) -> Stage:
    """The stage that publishes `tag`, for which everything else is made."""
    return next(stage for stage in stages_of(tag).values() if stage.kind is StageKind.PUBLISH)


def evaluations_of(tag: str) -> list[Stage]:
    """Every evaluation of every model of `tag`, published or not."""
    return [stage for stage in stages_of(tag).values() if stage.kind in EVALUATIONS]


def deliverable(tag: str, role: str) -> Stage:
    """What `tag` publishes in `role`, such as `hf-sft`, or its `twin-base`; raises `RecipeError` for another."""
    deliverables = {**publication(tag).inputs, **dict(_twins(stages_of(tag).values()))}
    if role not in deliverables:
        raise RecipeError(f"{tag} makes no {role}; it makes {', '.join(deliverables)}")
    return deliverables[role]


def stages_of_run(tags: Iterable[str], keys: Set[str]) -> list[Stage]:
    """Every stage of `tags`, needs before needers, and those among `keys` that nobody expected to be needed."""
    stages = {key: stage for tag in tags for key, stage in stages_of(tag).items()}
    if unexpected := keys - stages.keys():
        groups = (group for tag in tags for group in _groups_beyond(stages_of(tag)))
        stages |= {group.key: group for group in groups if group.key in unexpected}
    return in_order(stages.values())


def stage_of_key(tag: str, key: str) -> Stage:
    """The stage of `tag` with this key, be it a shard group that nobody expected to be needed. Raises `RecipeError`."""
    return stages_of(tag).get(key) or find_stages(tag, key)[0]


def find_stages(tag: str, wanted: str) -> Sequence[Stage]:
    """The stages of `tag` whose kind is `wanted` or whose key begins with it; refuses when there are none."""
    stages = stages_of(tag).values()
    found = [stage for stage in stages if stage.kind.value == wanted or stage.key.startswith(wanted)]
    if not found:
        beyond = (stage for stage in _groups_beyond(stages_of(tag)) if stage.key.startswith(wanted))
        found = list(islice(beyond, 1))
    if not found:
        kinds = ", ".join(dict.fromkeys(stage.kind.value for stage in stages))
        raise RecipeError(f"{tag} has no stage {wanted!r}; name a kind ({kinds}) or the beginning of a key")
    return found


def owners_of(key: str) -> list[str]:
    """Every known tag that has the stage with this key, in the order of the table."""
    return [tag for tag in recipes() if key in stages_of(tag)]


def known_folders() -> set[str]:
    """The artifact folders that any known tag reaches."""
    return {stage.address.folder for tag in recipes() for stage in stages_of(tag).values()}


def groups_of_known_corpora() -> Iterator[Stage]:
    """Every shard group, and what it is made of, that any known tag's corpora have to their ends; some twice."""
    streams = {}
    for tag in recipes():
        for stage in stages_of(tag).values():
            if stage.stream is not None:
                streams[stage.stream.group(0).key, stage.stream.corpus.groups] = stage.stream
    for stream in streams.values():
        yield from in_order(stream.group(index) for index in range(stream.corpus.groups))


def _twins(stages: Iterable[Stage]) -> Iterator[tuple[str, Stage]]:
    for stage in stages:
        if stage.kind is StageKind.EXPORT_TWIN and isinstance(stage.identity, ExportIdentity):
            yield f"twin-{stage.identity.phase}", stage


def _groups_beyond(stages: Mapping[str, Stage]) -> Iterator[Stage]:
    """The shard groups of the stages' corpus that are not among them, each behind what it is made of."""
    streams = [stage.stream for stage in stages.values() if stage.stream is not None]
    for stream in streams[-1:]:  # those of one recipe differ only in how far they are read
        for index in range(stream.corpus.groups):
            yield from (stage for stage in in_order([stream.group(index)]) if stage.key not in stages)


@cache
def _stages(recipe: Recipe) -> dict[str, Stage]:
    return {stage.key: stage for stage in pipeline_stages(recipe)}
