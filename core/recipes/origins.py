"""Where the value of each recipe field comes from: a tag, a law of the family, a constant, a user's series file.

Written for who has never read the code; the place in it stands in parentheses. The longest path that a field begins
with says it. A test follows every place and checks that no field of any tag is left unsaid.
"""

from __future__ import annotations

from collections.abc import Mapping

from core.recipes import bidirectional, miniseries, tiny
from core.recipes.series.cells import Cell
from core.recipes.table import find_recipe, series_cells

Origins = Mapping[str, str]  # dotted path, or the beginning of one -> origin

_TOKENIZER = {
    "tokenizer": "the same for all families (core.recipes.miniseries.TOKENIZER)",
    "tokenizer.vocabulary_size": "as many as the architecture's",
    "tokenizer.pattern": "the same for all families (core.recipes.vocabulary.SPLIT_PATTERN)",
    "tokenizer.special_tokens": "the same for all families (core.recipes.vocabulary.SPECIAL_TOKENS)",
}
_RATES = ("matrices.peak_rate", "embedding.peak_rate", "unembedding.peak_rate")


def _finetuning(tuning: str, rule: str, constants: str) -> dict[str, str]:
    """`rule` makes the optimization of a fine-tune from the base's, `constants` hold its other fields."""
    fields = ("momentum_start", "momentum_peak", "momentum_final", "momentum_warmup_steps", "weight_decay")
    changed = [*(f"matrices.{field}" for field in fields), "schedule"]
    return {
        tuning: f"fixed by the family ({constants})",
        f"{tuning}.sequence_length": f"{'twice ' if tuning.startswith('long') else ''}that of pretraining",
        f"{tuning}.batch_tokens": "that of pretraining",
        f"{tuning}.optimization": "that of pretraining",
        **{f"{tuning}.optimization.{field}": f"rule of fine-tuning ({rule})" for field in changed},
        **{f"{tuning}.optimization.{rate}": f"rule of fine-tuning: .8 of the base rate ({rule})" for rate in _RATES},
    }


_FAMILY_RULE = "core.recipes.miniseries.finetune_optimization"
_LAW = "core.recipes.optimization.family_optimization"
_SHAPE = "core.recipes.miniseries.family_architecture"
MINISERIES: Origins = {
    "": "fixed by the miniseries (core.recipes.miniseries.family_recipe)",
    "tag": "the tag",
    "architecture": "fixed by the miniseries (core.recipes.miniseries.family_architecture)",
    "architecture.depth": "the tag",
    "architecture.width": f"family law: 64 per layer, in whole heads of 128 ({_SHAPE})",
    "architecture.heads": f"family law: width / 128 ({_SHAPE})",
    "architecture.key_value_heads": f"family law: width / 128 ({_SHAPE})",
    "architecture.mlp_width": "family law: 8/3 of the width, to the nearest 128 (core.model.architecture.swiglu_width)",
    "architecture.sequence_length": "fixed by the miniseries (core.recipes.miniseries.SEQUENCE_LENGTH)",
    "architecture.vocabulary_size": "fixed by the miniseries (core.recipes.miniseries.TOKENIZER)",
    **_TOKENIZER,
    "corpus": "the miniseries' corpus (core.recipes.miniseries.CLIMBMIX)",
    "pretraining.steps": (
        "family horizon law: tokens per parameter, from the tag, x scaling parameters / batch "
        "(core.recipes.miniseries.horizon)"
    ),
    "pretraining.batch_tokens": (
        "family batch law: 2^round(log2(524,288 (S/S12)^.383)) (core.recipes.optimization.family_batch_tokens)"
    ),
    "pretraining.seed": "fixed by the miniseries (core.recipes.miniseries.SEED)",
    "pretraining.rope_drop": "the tag",
    "pretraining.optimization": f"constant of the miniseries ({_LAW})",
    "evaluation.long_context": "fixed by the miniseries (core.recipes.miniseries.LONG_CONTEXT)",
    "evaluation.core_metric": "fixed by the miniseries (core.recipes.miniseries.CORE_METRIC)",
    "evaluation.core_metric.sha256": "MINISERIES_CORE_BUNDLE, unless tasks are made here (core.recipes.core_bundle)",
    "pretraining.optimization.spike_policy": "default of every recipe (core.recipes.optimization.SpikePolicy)",
    "pretraining.optimization.matrices.peak_rate": f"family rate law: .02 sqrt(B / 524,288) ({_LAW})",
    "pretraining.optimization.matrices.weight_decay": f"family decay law: .28 sqrt(B / 524,288) S12/S ({_LAW})",
    "pretraining.optimization.embedding.peak_rate": f"family rate law: .3 sqrt(B / 524,288) (n/768)^-.5 ({_LAW})",
    "pretraining.optimization.unembedding.peak_rate": f"family rate law: .008 sqrt(B / 524,288) (n/768)^-.5 ({_LAW})",
    **_finetuning("finetuning", _FAMILY_RULE, "core.recipes.miniseries.family_recipe"),
    **_finetuning("long_finetuning", _FAMILY_RULE, "core.recipes.miniseries.family_recipe"),
}

TINY: Origins = {
    "": "fixed by the tiny family (core.recipes.tiny.tiny_recipe)",
    "tag": "the tag",
    "architecture": "fixed by the tiny family (core.recipes.tiny.tiny_architecture)",
    "architecture.depth": "fixed by the tiny family (core.recipes.tiny.DEPTH)",
    "architecture.width": "tiny law: 64 per layer, in whole heads of 64 (core.recipes.tiny.tiny_architecture)",
    "architecture.heads": "tiny law: width / 64 (core.recipes.tiny.tiny_architecture)",
    "architecture.key_value_heads": "tiny law: width / 64 (core.recipes.tiny.tiny_architecture)",
    "architecture.mlp_width": "tiny law: 8/3 of the width, to the nearest 128 (core.model.architecture.swiglu_width)",
    **_TOKENIZER,
    "corpus": "the documentation of the Python that runs (core.recipes.tiny.corpus)",
    "corpus.revision": "the Python that runs, and a digest of its sources (core.data.corpus.python_docs.revision)",
    "pretraining.steps": "fixed by the tiny family (core.recipes.tiny.STEPS)",
    "pretraining.batch_tokens": "fixed by the tiny family (core.recipes.tiny.BATCH_TOKENS)",
    "pretraining.seed": "fixed by the tiny family (core.recipes.tiny.SEED)",
    "pretraining.rope_drop": "the tag",
    "pretraining.optimization": "set by hand for the tiny family (core.recipes.tiny.OPTIMIZATION)",
    "evaluation.long_context": "fixed by the tiny family (core.recipes.tiny.LONG_CONTEXT)",
    "evaluation.core_metric": "fixed by the tiny family (core.recipes.tiny.CORE_METRIC)",
    "evaluation.core_metric.sha256": "MINISERIES_CORE_BUNDLE, unless tasks are made here (core.recipes.core_bundle)",
    **_finetuning("finetuning", "core.recipes.tiny.finetuning", "core.recipes.tiny.finetuning"),
    **_finetuning("long_finetuning", "core.recipes.tiny.finetuning", "core.recipes.tiny.finetuning"),
}

BIDIRECTIONAL: Origins = {
    "": "fixed by the bidirectional d20 (core.recipes.bidirectional.recipes)",
    "tag": "the tag",
    "pretraining.direction": "the tag",
    "architecture": "fixed by the bidirectional d20 (core.recipes.bidirectional.ARCHITECTURE)",
    **_TOKENIZER,
    "tokenizer.special_tokens": "those of all families and two directions (core.recipes.vocabulary.DIRECTION_TOKENS)",
    "corpus": "the bidirectional d20's corpus (core.recipes.bidirectional.FINEWEB_EDU)",
    "pretraining.steps": "20 tokens for each of all parameters (core.recipes.bidirectional.TOKENS_PER_PARAMETER)",
    "pretraining.batch_tokens": "fixed by the bidirectional d20 (core.recipes.bidirectional.BATCH_TOKENS)",
    "pretraining.optimization": "constants of nanochat 4a87a0d (core.recipes.bidirectional.OPTIMIZATION)",
    "evaluation.long_context": "that of the miniseries (core.recipes.miniseries.LONG_CONTEXT)",
    "evaluation.core_metric": "that of the miniseries (core.recipes.miniseries.CORE_METRIC)",
    "evaluation.core_metric.sha256": "MINISERIES_CORE_BUNDLE, unless tasks are made here (core.recipes.core_bundle)",
}

BY_BASE: Mapping[str, Origins] = {"tiny": TINY, "miniseries": MINISERIES}

# coordinate of a series -> recipe fields whose value it is
_FIELDS = {
    "depth": ("architecture.depth",),
    "width": ("architecture.width",),
    "tpp": ("pretraining.steps",),
    "steps": ("pretraining.steps",),
    "batch_tokens": ("pretraining.batch_tokens",),
    "sequence_length": ("architecture.sequence_length",),
    "vocabulary": ("architecture.vocabulary_size",),
    "corpus": ("corpus", "corpus.revision"),
    "shards": ("corpus.training_shards",),
    "seed": ("pretraining.seed", "finetuning.seed", "long_finetuning.seed"),
    "drope": ("pretraining.rope_drop",),
    "long": ("long_finetuning",),
}


def origins_of(tag: str) -> Origins:
    """Where each field of the recipe called `tag` comes from. Raises `RecipeError` for an unknown tag."""
    tag = find_recipe(tag).tag
    if tag in series_cells():
        return _of_cell(series_cells()[tag])
    if tag in bidirectional.TAGS:
        return BIDIRECTIONAL
    families = ((tiny.recipes, TINY), (miniseries.recipes, MINISERIES))
    known = {recipe.tag: origins for family, origins in families for recipe in family()}
    return known.get(tag, {"": f"the recipe {tag}"})


def origin(origins: Origins, field: str) -> str:
    """The origin of one field: that of the longest beginning of its path."""
    parts = field.replace("[", ".[").split(".")
    for length in range(len(parts), 0, -1):
        beginning = ".".join(parts[:length]).replace(".[", "[")
        if beginning in origins:
            return origins[beginning]
    return origins[""]


def _of_cell(cell: Cell) -> Origins:
    """The base family's origins, and over them what the series file says."""
    definition = cell.definition
    found = dict(BY_BASE[definition.base.name])
    found["tag"] = f"name and axes of {definition.path.name}"
    for name, value in {**definition.settings, **cell.coordinates}.items():
        where = f"{'axis' if name in cell.coordinates else 'set:'} {name} of {definition.path.name}"
        said = f"{where}: {value:g} (core.recipes.miniseries.horizon)" if name == "tpp" else where
        for field in _FIELDS.get(name, (name,)):
            found[field] = said
    return found
