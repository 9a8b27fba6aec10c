"""Which artifact one talks to: a fine-tune, of a `_long` tag the long one, a base without one; or an adopted model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from artifacts.errors import ArtifactMissing
from artifacts.store import Store
from core.adoption.artifact import find_adopted, require_phase
from core.evaluation.subject import Subject
from core.planning.pipeline import finetune_stage
from core.planning.pretraining import base_stage, tokenizer_stage
from core.planning.stage import Stage
from core.recipes.recipe import Recipe, RecipeError
from core.recipes.table import canonical_tag, find_recipe, recipes
from core.stages.kind import StageKind
from core.stages.unread import FOR_TRAINING

Phase = Literal["base", "sft"]


@dataclass(frozen=True)
class ModelStages:
    """A model of one tag and the tokenizer it reads with."""

    tag: str
    model: Stage
    tokenizer: Stage

    def load(self, store: Store) -> Subject:
        """The model on the best device here. Raises `ArtifactMissing` with the command that makes it."""
        for stage in (self.model, self.tokenizer):
            if store.manifest(stage.address) is None:
                raise ArtifactMissing(f"{self.tag} is not in store {store.url} yet: run `miniseries run {self.tag}`")
        with store.hold(self.model.address, without=FOR_TRAINING) as model, store.hold(self.tokenizer.address) as words:
            return Subject.load(model, words)


def chosen_model(name: str, phase: Phase | None, store: Store) -> ModelStages:
    """The model of a tag (see `model_stages`), or the adopted one of that name or key; a tag goes first."""
    if canonical_tag(name) in recipes() or (adopted := find_adopted(store, name)) is None:
        return model_stages(name, phase)
    require_phase(adopted, phase)
    return ModelStages(adopted.name, adopted, adopted)


def model_stages(tag: str, phase: Phase | None = None) -> ModelStages:
    """The stages of the model that `tag` names in `phase` (None: the fine-tune if there is one).

    Raises `RecipeError` for an unknown tag and for a fine-tune of a tag that has none.
    """
    recipe = find_recipe(tag)
    wants_base = phase == "base" or (phase is None and recipe.finetuning is None)
    return ModelStages(recipe.tag, base_stage(recipe) if wants_base else _finetune(recipe), tokenizer_stage(recipe))


def _finetune(recipe: Recipe) -> Stage:
    if recipe.long_finetuning is not None:
        return finetune_stage(recipe, StageKind.LONG_SFT, recipe.long_finetuning)
    if recipe.finetuning is not None:
        return finetune_stage(recipe, StageKind.SFT, recipe.finetuning)
    raise RecipeError(f"{recipe.tag} is a base model without a fine-tune; leave out --phase, or say --phase base")
