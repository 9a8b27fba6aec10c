"""From a recipe to the whole DAG of its tag: base model, fine-tunes, evaluations, exports, publication.

A `_long` tag also makes the ordinary fine-tune of the same base: comparing the two is what it exists for.
Both start from the base artifact, optimizer included, never from another fine-tune.
"""

from __future__ import annotations

from collections.abc import Mapping

from core.planning.pretraining import (
    base_stage,
    corpus_stage,
    pack_stage,
    stream,
    tokenizer_stage,
    validation_stage,
)
from core.planning.stage import Stage, in_order
from core.recipes.recipe import CoreMetric, Finetuning, Recipe
from core.stages.identity import (
    CoreBundleIdentity,
    CoreMetricIdentity,
    DecontaminateIdentity,
    EvaluateIdentity,
    ExportIdentity,
    FinetuneIdentity,
    LongContextIdentity,
    MixtureIdentity,
    PublishIdentity,
    QuestionsIdentity,
)
from core.stages.kind import StageKind

NATIVE_FORMAT = 1
HF_FORMAT = 1
TWIN_FORMAT = 1
NGRAM = 13  # words in a row that a question and the training text must share


def mixture_stage(recipe: Recipe, finetuning: Finetuning, name: str) -> Stage:
    """Conversations packed to the rows that one fine-tune reads."""
    identity = MixtureIdentity(
        training=finetuning.training,
        validation=finetuning.validation,
        persona=finetuning.persona,
        row_tokens=finetuning.sequence_length + 1,
        seed=finetuning.seed,
    )
    inputs = {"tokenizer": tokenizer_stage(recipe), "corpus": corpus_stage(recipe, *recipe.corpus.group(0))}
    return Stage(StageKind.MIXTURE, name, identity, inputs)


def finetune_stage(recipe: Recipe, kind: StageKind, finetuning: Finetuning) -> Stage:
    """`sft` or `long_sft` of this recipe's base."""
    identity = FinetuneIdentity(
        optimization=finetuning.optimization,
        sequence_length=finetuning.sequence_length,
        batch_tokens=finetuning.batch_tokens,
        precision=finetuning.precision,
        seed=finetuning.seed,
    )
    mixture = mixture_stage(recipe, finetuning, f"chat-{finetuning.sequence_length}")
    inputs = {"base": base_stage(recipe), "mixture": mixture}
    observed = {"tokenizer": tokenizer_stage(recipe)}
    return Stage(kind, recipe.base_tag, identity, inputs, observed)


def questions_stage(recipe: Recipe) -> Stage:
    """What fine-tuned models are examined in."""
    identity = QuestionsIdentity(tasks=recipe.evaluation.questions)
    return Stage(StageKind.QUESTIONS, "chat", identity, {"corpus": corpus_stage(recipe, *recipe.corpus.group(0))})


def evaluate_stage(recipe: Recipe, model: Stage, suite: str, validation: Stage, name: str) -> Stage:
    """The `base` or `chat` suite on one model; the former also reads training rows, the latter asks questions."""
    evaluation, is_base = recipe.evaluation, suite == "base"
    identity = EvaluateIdentity(
        suite=suite,
        validation_tokens=evaluation.validation_tokens,
        samples=evaluation.samples,
        sample_tokens=evaluation.sample_tokens,
        answer_tokens=evaluation.answer_tokens,
        passages=evaluation.cloze_passages if is_base else 0,
        held_out_shard=recipe.corpus.validation_shard,
        seed=recipe.pretraining.seed,
    )
    inputs = {"model": model, "tokenizer": tokenizer_stage(recipe), "validation": validation}
    inputs |= _text_inputs(recipe, model) if is_base else {"questions": questions_stage(recipe)}
    return Stage(StageKind.EVALUATE, name, identity, inputs)


def core_bundle_stage(recipe: Recipe, measured: CoreMetric) -> Stage:
    """The tasks that CORE is measured on."""
    if measured.bundle == "dclm":
        identity = CoreBundleIdentity(bundle="dclm", sha256=measured.sha256, examples=None, seed=None, shard=None)
        return Stage(StageKind.CORE_BUNDLE, "dclm", identity)
    shard = recipe.corpus.validation_shard
    identity = CoreBundleIdentity(
        bundle="synthetic", sha256=None, examples=measured.examples, seed=measured.shuffle_seed, shard=shard
    )
    return Stage(StageKind.CORE_BUNDLE, "synthetic", identity, {"corpus": corpus_stage(recipe, shard, shard + 1)})


def core_metric_stages(recipe: Recipe, base: Stage, name: str) -> dict[str, Stage]:
    """CORE of the base model, by its role; none where its data are pinned nowhere, or the model cannot go on a text."""
    measured = recipe.evaluation.core_metric
    if measured is None or recipe.pretraining.direction == "backward":
        return {}
    if measured.bundle == "dclm" and measured.sha256 is None:
        return {}
    identity = CoreMetricIdentity(
        examples=measured.examples, shuffle_seed=measured.shuffle_seed, shots_seed=measured.shots_seed
    )
    bundle, tokenizer = core_bundle_stage(recipe, measured), tokenizer_stage(recipe)
    inputs = {"model": base, "tokenizer": tokenizer, "bundle": bundle}
    return {"core-metric-base": Stage(StageKind.CORE_METRIC, name, identity, inputs)}


def _text_inputs(recipe: Recipe, model: Stage) -> dict[str, Stage]:
    """What a base model is measured on besides held-out rows: read rows, held-out documents, itself before a drop."""
    shard = recipe.corpus.validation_shard
    inputs = {"train": pack_stage(recipe, *recipe.corpus.group(0)), "corpus": corpus_stage(recipe, shard, shard + 1)}
    return inputs if recipe.drop_step is None else {**inputs, "before_drop": model.inputs["previous"]}


def long_context_stages(recipe: Recipe, models: Mapping[str, Stage]) -> list[Stage]:
    """How each model, by its name, reads beyond its trained length."""
    measured = recipe.evaluation.long_context
    if measured is None:
        return []
    shard = recipe.corpus.validation_shard
    corpus, tokenizer = corpus_stage(recipe, shard, shard + 1), tokenizer_stage(recipe)
    identity = LongContextIdentity(measured=measured, shard=shard)
    return [
        Stage(StageKind.LONG_CONTEXT, name, identity, {"model": model, "tokenizer": tokenizer, "corpus": corpus})
        for name, model in models.items()
    ]


def decontaminate_stage(recipe: Recipe) -> Stage:
    """Which questions stand in the text that the base model reads: needs the stream that it is trained on, not it."""
    rows = stream(recipe, recipe.pretraining.steps)
    (role, first), *further = rows.groups().items()
    return Stage(
        StageKind.DECONTAMINATE,
        f"{first.name.rsplit('-', 2)[0]}-{rows.rows}",
        DecontaminateIdentity(ngram=NGRAM, rows=rows.rows, stream_shards=recipe.corpus.training_shards),
        {"questions": questions_stage(recipe), "tokenizer": tokenizer_stage(recipe), role: first},
        dict(further),
        rows,
    )


def export_stages(recipe: Recipe, model: Stage, phase: str, name: str) -> dict[str, Stage]:
    """The native and the Hugging Face export of one model, by role."""
    inputs = {"model": model, "tokenizer": tokenizer_stage(recipe)}
    native = ExportIdentity(format_version=NATIVE_FORMAT, phase=phase)
    hf = ExportIdentity(format_version=HF_FORMAT, phase=phase)
    return {
        f"native-{phase}": Stage(StageKind.EXPORT_NATIVE, name, native, inputs),
        f"hf-{phase}": Stage(StageKind.EXPORT_HF, name, hf, inputs),
    }


def twin_stages(recipe: Recipe, deliverables: Mapping[str, Stage]) -> list[Stage]:
    """Each model once more for engines without remote code, where the recipe asks for it; nothing is made from them."""
    if not recipe.publication.twin:
        return []
    exports = [(phase, deliverables[f"hf-{phase}"]) for phase in ("base", "sft") if f"hf-{phase}" in deliverables]
    return [
        Stage(
            StageKind.EXPORT_TWIN,
            export.name,
            ExportIdentity(format_version=TWIN_FORMAT, phase=phase),
            export.inputs,
        )
        for phase, export in exports
    ]


def pipeline_stages(recipe: Recipe) -> list[Stage]:
    """Every stage of a tag, needs before needers; the last one publishes it."""
    base = base_stage(recipe)
    deliverables = export_stages(recipe, base, "base", f"{recipe.base_tag}-base")
    deliverables["evaluation-base"] = evaluate_stage(
        recipe, base, "base", validation_stage(recipe), f"{recipe.base_tag}-base"
    )
    deliverables |= core_metric_stages(recipe, base, f"{recipe.base_tag}-base")
    models = {f"{recipe.base_tag}-base": base}
    beside: list[Stage] = []
    for kind, finetuning in (
        (StageKind.SFT, recipe.finetuning),
        (StageKind.LONG_SFT, recipe.long_finetuning),
    ):
        if finetuning is None:
            continue
        tuned = finetune_stage(recipe, kind, finetuning)
        name = f"{recipe.base_tag}-{kind.value.replace('_', '-')}"
        models[name] = tuned
        evaluation = evaluate_stage(recipe, tuned, "chat", tuned.inputs["mixture"], name)
        beside.append(evaluation)
        deliverables |= export_stages(recipe, tuned, "sft", name)
        deliverables["evaluation-sft"] = evaluation
    if beside and recipe.evaluation.decontaminate == "report":
        deliverables["decontamination"] = decontaminate_stage(recipe)
    measured = long_context_stages(recipe, models)
    deliverables |= {
        f"long-evaluation-{phase}": stage
        for stage in measured
        for phase in ("base", "sft")
        if f"evaluation-{phase}" in deliverables and deliverables[f"evaluation-{phase}"].name == stage.name
    }
    publication = recipe.publication
    publish = Stage(
        StageKind.PUBLISH,
        recipe.tag,
        PublishIdentity(
            tag=recipe.tag,
            namespace=publication.namespace,
            visibility=publication.visibility,
            collection=publication.collection,
            destination=publication.destination,
        ),
        deliverables,
    )
    return in_order([*beside, *measured, *twin_stages(recipe, deliverables), publish])
