"""The bidirectional d20: 560,988,160 parameters (its card's "760M" is a name), read in both directions.

Constants of nanochat 4a87a0d (2025-11): plain Muon without weight decay, no warmup, constant rate, the last
20 % linear to 0, gradient clipping at 1. Horizon: 20 tokens for each of *all* parameters, which at
B = 262,144 is exactly 42,800 steps.
"""

from __future__ import annotations

from dataclasses import replace

from core.model.architecture import Architecture
from core.recipes.miniseries import LONG_CONTEXT, QUESTIONS, TOKENIZER
from core.recipes.optimization import AdamW, Muon, Optimization, Schedule
from core.recipes.recipe import Corpus, Evaluation, Pretraining, Publication, Recipe
from core.recipes.vocabulary import DIRECTION_TOKENS, SPECIAL_TOKENS

TAG = "d20_bidirectional"
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
    """The one bidirectional model; its card publishes the base model only."""
    return [
        Recipe(
            tag=TAG,
            trunk=TAG,
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
                direction="bidirectional",
                buffer_documents=1000,
            ),
            finetuning=None,
            long_finetuning=None,
            evaluation=Evaluation(
                validation_tokens=20_971_520,
                samples=8,
                sample_tokens=128,
                questions=QUESTIONS,
                answer_tokens=512,
                long_context=LONG_CONTEXT,
            ),
            publication=Publication(
                destination="hub", namespace="miniseries", visibility="private", collection="nanochat miniseries"
            ),
        )
    ]
