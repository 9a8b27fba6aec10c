"""Why a stage has its key: every field that the key hashes, with the recipe field it repeats and where that comes from.

Complete by construction: the fields are the leaves of the identity that the encoder hashes, so none can be forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.planning.catalogue import owners_of, stages_of
from core.planning.fields import flatten
from core.planning.stage import Stage
from core.planning.title import title
from core.recipes.origins import origin, origins_of
from core.recipes.recipe import Recipe
from core.recipes.table import find_recipe
from core.stages.identity import (
    CoreBundleIdentity,
    CoreMetricIdentity,
    CorpusIdentity,
    DecontaminateIdentity,
    EvaluateIdentity,
    ExportIdentity,
    FinetuneIdentity,
    LongContextIdentity,
    MixtureIdentity,
    PackIdentity,
    PublishIdentity,
    QuestionsIdentity,
    TokenizerIdentity,
    TrainingIdentity,
)
from core.stages.kind import StageKind

SHARDS = "shards are taken in groups of corpus.shards_per_group, the held-out one apart"
CUT = "cuts at 25, 50, 75 and 100 % of the horizon, pretraining.steps (core.recipes.recipe.CUT_FRACTIONS)"
NOT_IN_KEY = (
    "Not part of the key, so free to change: number and kind of devices, ranks, micro-batch, kernels, paths, logging, "
    "how often it is evaluated and checkpointed"
)

# The recipe part whose fields an identity repeats under their own names; other fields stand in `_SPECIAL`.
_PART = {
    CorpusIdentity: "corpus.",
    TokenizerIdentity: "tokenizer.",
    PackIdentity: "pretraining.",
    TrainingIdentity: "pretraining.",
    EvaluateIdentity: "evaluation.",
    CoreBundleIdentity: "evaluation.core_metric.",
    CoreMetricIdentity: "evaluation.core_metric.",
    PublishIdentity: "publication.",
}

# identity type, first part of the field -> recipe field, and what is done to it; without a recipe field, its origin
_SPECIAL: Mapping[tuple[type, str], tuple[str | None, str]] = {
    (CorpusIdentity, "first_shard"): (None, SHARDS),
    (CorpusIdentity, "end_shard"): (None, SHARDS),
    (PackIdentity, "row_tokens"): ("architecture.sequence_length", "one more than the sequence length"),
    (PackIdentity, "algorithm"): (None, "the one way rows are packed (core.planning.pretraining.PACKING)"),
    (PackIdentity, "direction"): (
        "pretraining.direction",
        "each when both are measured on the same documents (core.planning.pretraining.validation_stage)",
    ),
    (PackIdentity, "direction_seed"): (None, "fixed (core.planning.pretraining.DIRECTION_SEED)"),
    (PackIdentity, "first_shard"): (None, SHARDS),
    (PackIdentity, "end_shard"): (None, SHARDS),
    (TrainingIdentity, "architecture"): ("architecture", ""),
    (TrainingIdentity, "stream_shards"): ("corpus.training_shards", "after them the next epoch begins"),
    (TrainingIdentity, "first_step"): (None, CUT),
    (TrainingIdentity, "end_step"): (None, CUT),
    (TrainingIdentity, "use_rope"): ("pretraining.rope_drop", "true up to the RoPE drop, false after it"),
    (EvaluateIdentity, "suite"): (None, "base after pretraining, chat after a fine-tune (core.planning.pipeline)"),
    (EvaluateIdentity, "passages"): ("evaluation.cloze_passages", "0 for a fine-tune"),
    (EvaluateIdentity, "held_out_shard"): ("corpus.validation_shard", "nothing is trained on it"),
    (EvaluateIdentity, "seed"): ("pretraining.seed", ""),
    (CoreBundleIdentity, "seed"): ("evaluation.core_metric.shuffle_seed", "of synthetic tasks"),
    (CoreBundleIdentity, "shard"): ("corpus.validation_shard", "synthetic tasks are made from it"),
    (LongContextIdentity, "measured"): ("evaluation.long_context", ""),
    (LongContextIdentity, "shard"): ("corpus.validation_shard", "nothing is trained on it"),
    (ExportIdentity, "format_version"): (None, "raised when the format changes (core.planning.pipeline)"),
    (DecontaminateIdentity, "ngram"): (None, "words in a row that count as overlap (core.planning.pipeline.NGRAM)"),
    (DecontaminateIdentity, "rows"): (None, "those that pretraining.steps read, a batch each"),
    (DecontaminateIdentity, "stream_shards"): ("corpus.training_shards", "after them the next epoch begins"),
    (ExportIdentity, "phase"): (None, "which model is exported: base, or sft after a fine-tune"),
    (PublishIdentity, "tag"): ("tag", ""),
}


@dataclass(frozen=True, kw_only=True)
class ExplainedField:
    """One leaf of the identity."""

    field: str  # dotted
    value: object
    recipe_field: str | None  # the field of the recipe that it repeats or is computed from
    origin: str


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """One stage of one tag."""

    stage: Stage
    fields: tuple[ExplainedField, ...]
    shared_by: tuple[str, ...]  # every known tag that has it, the asked one included
    made_from: tuple[Stage, ...]  # stages of the tag that change with it, in order


def explain(tag: str, stage: Stage) -> Explanation:
    """Explain a stage of `tag`. Raises `RecipeError` for an unknown tag."""
    recipe, origins = find_recipe(tag), origins_of(tag)
    fields = []
    for field, value in flatten(stage.identity).items():
        recipe_field, note = _recipe_field(recipe, stage, field)
        source = "" if recipe_field is None else origin(origins, recipe_field)
        said = ": ".join(filter(None, (note, source)))
        fields.append(ExplainedField(field=field, value=value, recipe_field=recipe_field, origin=said))
    return Explanation(
        stage=stage,
        fields=tuple(fields),
        shared_by=tuple(owners_of(stage.key)),
        made_from=_made_from(stage, stages_of(tag)),
    )


def explanation_listing(tag: str, explanation: Explanation) -> dict[str, object]:
    """The JSON shape of one explanation."""
    stage = explanation.stage
    return {
        "tag": tag,
        "key": stage.key,
        "kind": stage.kind.value,
        "name": stage.name,
        "title": title(stage),
        "version": stage.definition.version,
        "fields": [
            {"field": one.field, "value": one.value, "recipe_field": one.recipe_field, "origin": one.origin}
            for one in explanation.fields
        ],
        "inputs": {role: _need(need) for role, need in stage.inputs.items()},
        "observed": {role: _need(need) for role, need in stage.observed.items()},
        "shared_by": list(explanation.shared_by),
        "made_from": [_need(other) for other in explanation.made_from],
    }


def _need(stage: Stage) -> dict[str, object]:
    return {"key": stage.key, "kind": stage.kind.value, "name": stage.name}


def _recipe_field(recipe: Recipe, stage: Stage, field: str) -> tuple[str | None, str]:
    """The recipe field behind an identity field, and what is done to it."""
    identity = type(stage.identity)
    first, _, rest = field.partition(".")
    if (identity, first) in _SPECIAL:
        path, note = _SPECIAL[identity, first]
        return (f"{path}.{rest}" if path and rest else path), note
    if identity is QuestionsIdentity:
        return f"evaluation.questions{field.removeprefix('tasks')}", ""
    if identity in (MixtureIdentity, FinetuneIdentity):
        part = _finetuning_part(recipe, stage)
        return (
            (f"{part}.sequence_length", "one more than its rows") if first == "row_tokens" else (f"{part}.{field}", "")
        )
    return f"{_PART[identity]}{field}", ""


def _finetuning_part(recipe: Recipe, stage: Stage) -> str:
    """`finetuning` or `long_finetuning`, whichever the fine-tune or the mixture belongs to."""
    own, identity = recipe.finetuning, stage.identity
    if not isinstance(identity, MixtureIdentity):
        return "long_finetuning" if stage.kind is StageKind.LONG_SFT else "finetuning"
    is_own = own is not None and (own.training, own.sequence_length + 1) == (identity.training, identity.row_tokens)
    return "finetuning" if is_own else "long_finetuning"


def _made_from(stage: Stage, stages: Mapping[str, Stage]) -> tuple[Stage, ...]:
    reached = {stage.key}
    found = []
    for other in stages.values():  # needs before needers
        if reached & {need.key for need in other.inputs.values()}:
            reached.add(other.key)
            found.append(other)
    return tuple(found)
