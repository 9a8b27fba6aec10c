"""From a recipe to its base model: corpus, tokenizer, packed stream, and the chain of pretraining segments.

Segments are cut at round(pN), p = 25, 50, 75, 100 %, whoever asks, so that models which share a prefix of
training share its stages. A RoPE drop replaces the rest of the chain by one recalibrate stage that starts
from the trunk segment ending at the drop step.

A shard group, packed or not, is one `Stage` object in a process, whichever recipe asks: twenty tags read the same few
hundred of them, and each key is hashed once.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from core.data.corpus.source_text import readable_name
from core.planning.stage import Stage
from core.planning.stream_length import PackedStream
from core.recipes.recipe import Corpus, Recipe, Tokenizer
from core.stages.identity import CorpusIdentity, PackedDirection, PackIdentity, TokenizerIdentity, TrainingIdentity
from core.stages.kind import StageKind

PACKING = "best-fit-crop"
DIRECTION_SEED = 42


def corpus_stage(recipe: Recipe, first_shard: int, end_shard: int) -> Stage:
    """The corpus stage that holds shards [first_shard, end_shard)."""
    return _corpus_stage(recipe.corpus, first_shard, end_shard)


def tokenizer_stage(recipe: Recipe) -> Stage:
    """The vocabulary, trained on the first shard group."""
    return _tokenizer_stage(recipe.corpus, recipe.tokenizer)


def pack_stage(recipe: Recipe, first_shard: int, end_shard: int) -> Stage:
    """Rows of T+1 tokens from shards [first_shard, end_shard), in the recipe's direction."""
    return _packed(recipe, recipe.pretraining.direction, (first_shard, end_shard))


def validation_stage(recipe: Recipe) -> Stage:
    """The held-out shard, packed the same way; every document in each direction when the model reads in both."""
    shard, direction = recipe.corpus.validation_shard, recipe.pretraining.direction
    return _packed(recipe, "each" if direction == "bidirectional" else direction, (shard, shard + 1))


def stream(recipe: Recipe, end_step: int) -> PackedStream:
    """The stream of packed rows, as far as steps [0, end_step) read it; a longer budget only appends."""
    length = recipe.architecture.sequence_length
    return PackedStream(
        corpus=recipe.corpus,
        row_length=length,
        rows=end_step * (recipe.pretraining.batch_tokens // length),
        group=lambda index: pack_stage(recipe, *recipe.corpus.group(index)),
    )


def trunk_segments(recipe: Recipe) -> list[Stage]:
    """The RoPE-on segments of this recipe, in order: up to its drop step, or to its horizon."""
    stop = recipe.drop_step or recipe.pretraining.steps
    segments: list[Stage] = []
    for first_step, end_step in zip((0, *recipe.cuts), recipe.cuts, strict=False):
        if end_step > stop:
            break
        previous = segments[-1] if segments else None
        identity = _training_identity(recipe, first_step, end_step)
        name = f"{recipe.trunk}-{first_step:06d}-{end_step:06d}"
        segments.append(_training_stage(recipe, StageKind.PRETRAIN, name, identity, previous))
    return segments


@cache
def base_stage(recipe: Recipe) -> Stage:
    """The stage whose artifact is the base model: the last trunk segment, or the recalibration after a drop."""
    trunk = trunk_segments(recipe)[-1]
    if recipe.drop_step is None:
        return trunk
    steps = recipe.pretraining.steps
    identity = replace(_training_identity(recipe, recipe.drop_step, steps), use_rope=False)
    return _training_stage(recipe, StageKind.RECALIBRATE, recipe.base_tag, identity, trunk)


def _training_stage(
    recipe: Recipe, kind: StageKind, name: str, identity: TrainingIdentity, previous: Stage | None
) -> Stage:
    """A stage that reads the stream up to its end step: the first group is of its key, the further ones follow."""
    rows = stream(recipe, identity.end_step)
    first, *further = rows.groups().items()
    return Stage(
        kind,
        name,
        identity,
        {**({"previous": previous} if previous else {}), **dict([first])},
        {"tokenizer": tokenizer_stage(recipe), "validation": validation_stage(recipe), **dict(further)},
        rows,
    )


def _packed(recipe: Recipe, direction: PackedDirection, shards: tuple[int, int]) -> Stage:
    row_tokens = recipe.architecture.sequence_length + 1
    return _pack_stage(
        recipe.corpus, recipe.tokenizer, row_tokens, recipe.pretraining.buffer_documents, direction, shards
    )


@cache
def _corpus_stage(corpus: Corpus, first_shard: int, end_shard: int) -> Stage:
    first, end = corpus.collected_with(first_shard, end_shard)
    identity = CorpusIdentity(source=corpus.source, revision=corpus.revision, first_shard=first, end_shard=end)
    return Stage(StageKind.CORPUS, f"{readable_name(corpus.source)}-{first:05d}-{end:05d}", identity)


@cache
def _tokenizer_stage(corpus: Corpus, tokenizer: Tokenizer) -> Stage:
    identity = TokenizerIdentity(
        vocabulary_size=tokenizer.vocabulary_size,
        pattern=tokenizer.pattern,
        special_tokens=tokenizer.special_tokens,
        max_characters=tokenizer.max_characters,
        document_cap=tokenizer.document_cap,
    )
    name = f"{readable_name(corpus.source)}-{tokenizer.vocabulary_size}"
    return Stage(StageKind.TOKENIZER, name, identity, {"corpus": _corpus_stage(corpus, *corpus.group(0))})


@cache
def _pack_stage(
    corpus: Corpus,
    tokenizer: Tokenizer,
    row_tokens: int,
    buffer_documents: int,
    direction: PackedDirection,
    shards: tuple[int, int],
) -> Stage:
    first, end = shards
    identity = PackIdentity(
        row_tokens=row_tokens,
        algorithm=PACKING,
        buffer_documents=buffer_documents,
        direction=direction,
        direction_seed=DIRECTION_SEED,
        first_shard=first,
        end_shard=end,
    )
    inputs = {"tokenizer": _tokenizer_stage(corpus, tokenizer), "corpus": _corpus_stage(corpus, first, end)}
    return Stage(StageKind.PACK, f"{readable_name(corpus.source)}-{first:05d}-{end:05d}", identity, inputs)


def _training_identity(recipe: Recipe, first_step: int, end_step: int) -> TrainingIdentity:
    pretraining = recipe.pretraining
    return TrainingIdentity(
        architecture=recipe.architecture,
        optimization=pretraining.optimization,
        steps=pretraining.steps,
        batch_tokens=pretraining.batch_tokens,
        precision=pretraining.precision,
        seed=pretraining.seed,
        direction=pretraining.direction,
        stream_shards=recipe.corpus.training_shards,
        first_step=first_step,
        end_step=end_step,
        use_rope=True,
    )
