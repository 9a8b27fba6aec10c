"""How large an artifact will be, estimated from shapes and budgets before it is made.

Weights and Muon's momentum are float32; in bf16 and fp8 the input embedding and its two moments are bfloat16 (see
`core.training.precision`). By this d18 has 1.37 GB of weights and 1.60 GB of optimizer state, d20 1.84 and 2.09.
"""

from __future__ import annotations

from core.planning.mixture_length import assumed_tokens
from core.planning.speed import Shape, shape_of
from core.planning.stage import Stage
from core.planning.stream_length import id_bytes
from core.recipes.recipe import Recipe
from core.stages.identity import CorpusIdentity, MixtureIdentity, PackIdentity, TokenizerIdentity
from core.stages.kind import StageKind

COMPRESSED_BYTES_PER_TOKEN = 100e6 / 34e6  # a ClimbMix shard is about 100 MB and gives at least 34M tokens
BYTES_PER_VOCABULARY_ENTRY = 20  # ranks, names and lengths: 38 KB for 2,048 entries


def estimated_bytes(stage: Stage, recipe: Recipe) -> int | None:
    """Bytes of all files of the stage's artifact, `recipe` being of one of its tags.

    None for evaluations and receipts: kilobytes, which depend on what a model says.
    """
    identity = stage.identity
    match identity:
        case CorpusIdentity():
            shards = identity.end_shard - identity.first_shard
            return round(shards * recipe.corpus.tokens_per_shard * COMPRESSED_BYTES_PER_TOKEN)
        case TokenizerIdentity():
            return identity.vocabulary_size * BYTES_PER_VOCABULARY_ENTRY
        case PackIdentity():
            tokens = (identity.end_shard - identity.first_shard) * recipe.corpus.tokens_per_shard
            rows = tokens // (identity.row_tokens - 1)
            return rows * identity.row_tokens * id_bytes(recipe.tokenizer.vocabulary_size)
        case MixtureIdentity():
            tokens = assumed_tokens((*identity.training, *identity.validation), identity.row_tokens)
            return tokens * (id_bytes(recipe.tokenizer.vocabulary_size) + 1)  # and a mask of one byte
        case _:
            return _model_bytes(stage)


def _model_bytes(stage: Stage) -> int | None:
    """A model: with its optimizer as it is trained and exported natively, without for Hugging Face and as a twin."""
    shape = shape_of(stage.inputs.get("model", stage))
    if shape is None or stage.kind in (StageKind.EVALUATE, StageKind.CORE_METRIC, StageKind.LONG_CONTEXT):
        return None
    if stage.kind in (StageKind.EXPORT_HF, StageKind.EXPORT_TWIN):
        return shape.architecture.total_parameters * (4 if shape.precision == "fp32" else 2)
    return _weight_bytes(shape) + _optimizer_bytes(shape)


def _weight_bytes(shape: Shape) -> int:
    return 4 * shape.architecture.scaling_parameters + _embedding_bytes(shape)


def _optimizer_bytes(shape: Shape) -> int:
    """One momentum a matrix (Muon's second moments are vectors), two moments an embedding table."""
    architecture = shape.architecture
    unembedding = architecture.scaling_parameters - architecture.matrix_parameters
    return 4 * architecture.matrix_parameters + 8 * unembedding + 2 * _embedding_bytes(shape)


def _embedding_bytes(shape: Shape) -> int:
    table = shape.architecture.total_parameters - shape.architecture.scaling_parameters
    return table * (4 if shape.precision == "fp32" else 2)
