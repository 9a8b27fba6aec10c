"""The study of some tags as a stage: contrasts of their models, made from every evaluation that their plans have.

Whatever asks for the same tags gets the same stage, in the order of the recipe table. A study is *in force* while what
it was made from is what the recipes say now: until then the tags that it covers are published with it, so that
publishing again does not take its section from the cards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from artifacts.address import Address
from artifacts.errors import ArtifactDamaged
from artifacts.manifest import Manifest
from artifacts.store import Found, Store
from artifacts.survey import Contents
from core.planning.catalogue import evaluations_of, publication
from core.planning.stage import Stage
from core.recipes.recipe import Recipe, RecipeError
from core.recipes.table import find_recipe, recipes
from core.stages.identity import StudiedModel, StudiedPhase, StudyIdentity
from core.stages.kind import StageKind

RESAMPLES = 2000
SEED = 42
STUDY = "study"  # the role of a study among the inputs of a publication

PHASES: Mapping[StageKind, StudiedPhase] = {
    StageKind.PRETRAIN: "base",
    StageKind.RECALIBRATE: "base",
    StageKind.SFT: "sft",
    StageKind.LONG_SFT: "long_sft",
}


def study_stage(tags: Iterable[str]) -> Stage:
    """The study of `tags`; raises `RecipeError` for an unknown one, or when nothing of them is evaluated."""
    wanted = {find_recipe(tag).tag for tag in tags}
    chosen = [recipe for tag, recipe in recipes().items() if tag in wanted]
    models: dict[tuple[str, ...], StudiedModel] = {}  # by the keys of its evaluations: tags may ask for different ones
    inputs: dict[str, Stage] = {}
    for recipe in chosen:
        for evaluations in _by_model(recipe):
            keys = tuple(sorted(stage.key for stage in evaluations))
            if keys not in models:
                models[keys] = _model(recipe, evaluations[0], {model.name for model in models.values()})
            inputs |= {f"{stage.kind.value}:{models[keys].name}": stage for stage in evaluations}
    if not inputs:
        raise RecipeError("a study needs models that are evaluated; name tags whose recipes ask for evaluations")
    identity = StudyIdentity(
        tags=tuple(recipe.tag for recipe in chosen), models=tuple(models.values()), resamples=RESAMPLES, seed=SEED
    )
    return Stage(StageKind.STUDY, _name(identity.tags), identity, inputs)


def published_with(publish: Stage, study: Stage) -> Stage:
    """The same publication with cards that tell what the study found."""
    return replace(publish, inputs={**publish.inputs, STUDY: study})


def publication_in(tag: str, store: Store) -> Stage:
    """The stage that publishes `tag` from `store` as it stands: with the newest study in force that covers it, if any.

    One listing, and the manifest of every study there is. Raises `StoreError`.
    """
    return _published(tag, studies_in_force(store, store.survey()))


def contents_with_studies(store: Store, contents: Contents) -> Contents:
    """A listing in which the publication of a tag that a study covers is found where the one with the study is."""
    studies = studies_in_force(store, contents.artifacts)
    stands = {
        publication(tag).address.folder: contents.artifacts.get(_published(tag, studies).address.folder, Found())
        for tag in {tag for study in studies for tag in _tags(study)}
    }
    return replace(contents, artifacts={**contents.artifacts, **stands})


def studies_in_force(store: Store, survey: Mapping[str, Found]) -> list[Stage]:
    """The committed studies that are what the recipes say now, the newest first."""
    places = [Address.parse(folder) for folder, found in survey.items() if found.committed and not found.damaged]
    manifests = [_readable(store, place) for place in places if place is not None and place.kind == STUDY]
    found = [(manifest, stage) for manifest in manifests if manifest and (stage := study_in_force(manifest))]
    return [stage for _, stage in sorted(found, key=lambda one: _finished(one[0]), reverse=True)]


def study_in_force(manifest: Manifest) -> Stage | None:
    """The study that left this manifest; None when the recipes now say something else of its tags."""
    tags = manifest.identity.get("tags") if isinstance(manifest.identity, dict) else None
    if not isinstance(tags, list) or any(tag not in recipes() for tag in tags):
        return None
    stage = study_stage(tags)
    return stage if stage.key == manifest.key else None


def _published(tag: str, studies: Sequence[Stage]) -> Stage:
    plain = publication(tag)
    covering = next((study for study in studies if tag in _tags(study)), None)
    return plain if covering is None else published_with(plain, covering)


def _tags(study: Stage) -> tuple[str, ...]:
    assert isinstance(study.identity, StudyIdentity)
    return study.identity.tags


def _readable(store: Store, place: Address) -> Manifest | None:
    """One whose manifest cannot be read is in force for nobody; `miniseries verify` tells of it."""
    try:
        return store.peek(place)
    except ArtifactDamaged:
        return None


def _finished(manifest: Manifest) -> float:
    finished = manifest.provenance.get("finished")
    return float(finished) if isinstance(finished, (int, float)) else 0.0


def _model(recipe: Recipe, evaluation: Stage, taken: set[str]) -> StudiedModel:
    """The model that `evaluation` is about; one whose name is taken is called by the tag."""
    phase = PHASES[evaluation.inputs["model"].kind]
    name = evaluation.name if evaluation.name not in taken else f"{recipe.tag}-{phase.replace('_', '-')}"
    architecture, tuning = (
        recipe.architecture,
        {"sft": recipe.finetuning, "long_sft": recipe.long_finetuning}.get(phase),
    )
    return StudiedModel(
        name=name,
        trunk=recipe.trunk,
        phase=phase,
        depth=architecture.depth,
        parameters=architecture.total_parameters,
        tokens=recipe.tokens,
        tokens_per_parameter=float(f"{recipe.tokens / architecture.scaling_parameters:.2g}"),
        rope_drop=recipe.pretraining.rope_drop,
        direction=recipe.pretraining.direction,
        sequence_length=architecture.sequence_length if tuning is None else tuning.sequence_length,
    )


def _by_model(recipe: Recipe) -> list[list[Stage]]:
    """The evaluations of each model, base models first, then what was made from them."""
    models: dict[str, list[Stage]] = {}
    for stage in evaluations_of(recipe.tag):
        models.setdefault(stage.inputs["model"].key, []).append(stage)
    order = ("base", "sft", "long_sft")
    return sorted(models.values(), key=lambda those: order.index(PHASES[those[0].inputs["model"].kind]))


def _name(tags: Sequence[str]) -> str:
    return tags[0] if len(tags) == 1 else f"{tags[0]}-and-{len(tags) - 1}-more"
