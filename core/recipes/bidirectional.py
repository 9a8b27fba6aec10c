"""The bidirectional d20: 560,988,160 parameters (its card's "760M" is a name), read in both directions.

Constants of nanochat 4a87a0d (2025-11): plain Muon without weight decay, no warmup, constant rate, the last
20 % linear to 0, gradient clipping at 1. Horizon: 20 tokens for each of *all* parameters, which at
B = 262,144 is exactly 42,800 steps.

`d20_forward` and `d20_backward` are what it is compared with: the same recipe but for the way documents are read. They
keep its vocabulary, and so the direction token at the beginning of each document, though one way needs none. So a
document has as many tokens in all three, is packed into the same place, and comes at the same step: the three read the
same documents, the same number of tokens of each, in their own order. Without the token the forward sibling would read
other rows, and more text of each row. What is equal is the budget: the siblings see each document once in their way,
the bidirectional one sees half of them in each. Only where a document is cropped do they differ, since one way reads
its beginning and the other its end.
"""

from __future__ import annotations

from dataclasses import replace

from core.model.architecture import Architecture
from core.recipes.miniseries import EVALUATION, PUBLICATION, TOKENIZER
from core.recipes.optimization import AdamW, Muon, Optimization, Schedule
from core.recipes.recipe import Corpus, Direction, Pretraining, Recipe
from core.recipes.vocabulary import DIRECTION_TOKENS, SPECIAL_TOKENS

DIRECTIONS: tuple[Direction, ...] = ("bidirectional", "forward", "backward")
TAGS = tuple(f"d20_{direction}" for direction in DIRECTIONS)
BATCH_TOKENS = 262_144
TOKENS_PER_PARAMETER = 20
WIDTH_SCALE = (1280 / 768) ** -0.5  # .774597

ARCHITECTURE = Architecture(
    depth=20,
    width=1280,
    heads=10,
    key_value_heads=10,
    head_width=128,
    mlp="relu2",
    mlp_width=4 * 1280,
    vocabulary_size=65_536,
    sequence_length=2048,
    rope_base=10_000.0,
    logit_softcap=15.0,
    norm_epsilon=1e-6,
    normalize_embedding=True,
)

OPTIMIZATION = Optimization(
    matrices=Muon(
        peak_rate=0.02,
        orthogonalization="newton-schulz",
        second_moment_beta=None,
        momentum_start=0.85,
        momentum_peak=0.95,
        momentum_final=0.95,
        momentum_warmup_steps=300,
        weight_decay=0.0,
    ),
    embedding=AdamW(peak_rate=0.2 * WIDTH_SCALE, beta1=0.8, beta2=0.95, epsilon=1e-10, weight_decay=0.0),
    unembedding=AdamW(peak_rate=0.004 * WIDTH_SCALE, beta1=0.8, beta2=0.95, epsilon=1e-10, weight_decay=0.0),
    schedule=Schedule(warmup_steps=0, warmdown_fraction=0.2, final_fraction=0.0),
    gradient_clip=1.0,
)

FINEWEB_EDU = Corpus(
    source="fineweb-edu",
    revision="main",
    training_shards=1822,
    validation_shard=1822,
    shards_per_group=8,
    tokens_per_shard=34_000_000,
)


def recipes() -> list[Recipe]:
    """The bidirectional model and its two siblings; its card publishes base models only."""
    return [_recipe(direction) for direction in DIRECTIONS]


def _recipe(direction: Direction) -> Recipe:
    tag = f"d20_{direction}"
    return Recipe(
        tag=tag,
        trunk=tag,
        architecture=ARCHITECTURE,
        corpus=FINEWEB_EDU,
        tokenizer=replace(
            TOKENIZER,
            vocabulary_size=ARCHITECTURE.vocabulary_size,
            special_tokens=(*SPECIAL_TOKENS, *DIRECTION_TOKENS),
            max_characters=10_000_000_000,
        ),
        pretraining=Pretraining(
            steps=TOKENS_PER_PARAMETER * ARCHITECTURE.total_parameters // BATCH_TOKENS,
            batch_tokens=BATCH_TOKENS,
            optimization=OPTIMIZATION,
            precision="bf16",
            seed=42,
            rope_drop=None,
            direction=direction,
            buffer_documents=1000,
        ),
        finetuning=None,
        long_finetuning=None,
        evaluation=EVALUATION,
        publication=PUBLICATION,
    )
