"""The 20-model nanochat miniseries: depth x tokens-per-parameter x RoPE drop x long-context fine-tuning.

Followed where the model card is explicit, the seed's code where the card is silent:
- 100,000 Tulu rows in every `_long` mixture (card; the d20 scripts pass 150,000).
- RMSNorm epsilon: the native code's 1.19e-7 is what trains; the card's 1e-6 differs only when activations
  are tiny, and one number must serve native and exported model alike, so 1e-6 it is.
- six chat tasks, as at commit 4e1694c; no learning-rate re-warmup at the drop.
"""

from __future__ import annotations

from dataclasses import replace

from core.model.architecture import Architecture, swiglu_width
from core.recipes.member import Member
from core.recipes.optimization import Optimization, Schedule, family_batch_tokens, family_optimization
from core.recipes.recipe import (
    CoreMetric,
    Corpus,
    Evaluation,
    Finetuning,
    LongContext,
    MixtureTask,
    Persona,
    Pretraining,
    Publication,
    Recipe,
    Tokenizer,
)
from core.recipes.vocabulary import SPECIAL_TOKENS, SPLIT_PATTERN

HEAD_WIDTH = 128
SEQUENCE_LENGTH = 4096  # of pretraining and of the ordinary fine-tune; the long one doubles it
SEED = 42

# depth, tokens per parameter -> percentages trained with RoPE (None: throughout), and those with a long fine-tune
SERIES: dict[tuple[int, int], tuple[tuple[int | None, ...], tuple[int | None, ...]]] = {
    (18, 9): ((None, 25, 50, 75), ()),
    (18, 20): ((None, 50), (None, 50)),
    (20, 9): ((None, 25, 50, 75), ()),
    (20, 20): ((None, 50), (None, 50)),
    (20, 40): ((None, 50), (None, 50)),
}

CLIMBMIX = Corpus(
    source="climbmix",
    revision="main",
    training_shards=6542,
    validation_shard=6542,
    shards_per_group=8,
    tokens_per_shard=34_000_000,  # the pessimistic end of 34M to 46M after best-fit cropping
)

TOKENIZER = Tokenizer(
    vocabulary_size=32_768,
    pattern=SPLIT_PATTERN,
    special_tokens=SPECIAL_TOKENS,
    max_characters=2_000_000_000,
    document_cap=10_000,
)

CHAT_TASKS = (
    MixtureTask(name="smol-smoltalk", rows=None),
    MixtureTask(name="identity", rows=None, epochs=2),
    MixtureTask(name="mmlu", rows=None, epochs=3),
    MixtureTask(name="gsm8k", rows=None, epochs=4),
    MixtureTask(name="simple-spelling", rows=200_000),
    MixtureTask(name="spelling-bee", rows=80_000),
)
PERSONA = Persona(
    name="nanochat",
    family="the miniseries",
    maker="the miniseries pipeline",
    design="nanochat, an open project of Andrej Karpathy",
    skills="chat, answer simple questions, spell words, count letters, and use Python for small calculations",
)
LONG_TASKS = (*CHAT_TASKS, MixtureTask(name="tulu-long", rows=100_000))
VALIDATION_TASKS = (
    MixtureTask(name="smol-smoltalk", rows=24_000),
    MixtureTask(name="mmlu", rows=5_200),
    MixtureTask(name="gsm8k", rows=420),
)
QUESTIONS = (  # humaneval, which runs what a model wrote, is left to who asks for it
    MixtureTask(name="mmlu", rows=None),
    MixtureTask(name="arc-easy", rows=None),
    MixtureTask(name="arc-challenge", rows=None),
    MixtureTask(name="gsm8k", rows=None),
    MixtureTask(name="spelling-bee", rows=256),
)
LONG_CONTEXT = LongContext(
    factors=(1, 2, 4, 8),
    documents=128,
    fitting_documents=16,
    needle_trials=500,
    needle_depths=10,
    choices=10,
    answer_tokens=128,
    seed=SEED,
)
CORE_METRIC = CoreMetric(bundle="dclm", examples=None)
EVALUATION = Evaluation(
    validation_tokens=20_971_520,
    samples=8,
    sample_tokens=128,
    questions=QUESTIONS,
    answer_tokens=512,
    cloze_passages=2000,  # an interval of 2 points either way, at most
    long_context=LONG_CONTEXT,
    core_metric=CORE_METRIC,
)
PUBLICATION = Publication(
    destination="hub", namespace="miniseries", visibility="private", collection="nanochat miniseries"
)


def family_architecture(depth: int, width: int | None = None) -> Architecture:
    """The architecture of one depth: n = 64 per layer unless it is given, rounded up to whole heads of 128."""
    width = -(-(width or depth * 64) // HEAD_WIDTH) * HEAD_WIDTH
    return Architecture(
        depth=depth,
        width=width,
        heads=width // HEAD_WIDTH,
        key_value_heads=width // HEAD_WIDTH,
        head_width=HEAD_WIDTH,
        mlp="swiglu",
        mlp_width=swiglu_width(width),
        vocabulary_size=TOKENIZER.vocabulary_size,
        sequence_length=SEQUENCE_LENGTH,
        rope_base=100_000.0,
        logit_softcap=15.0,
        norm_epsilon=1e-6,
        normalize_embedding=False,
    )


def horizon(architecture: Architecture, tokens_per_parameter: float, batch_tokens: int) -> int:
    """N = int(tpp S) // B optimizer steps; S counts the matrices and lm_head."""
    return int(tokens_per_parameter * architecture.scaling_parameters) // batch_tokens


def finetune_optimization(pretraining: Optimization, batch_scale: float) -> Optimization:
    """Fine-tuning rates: .8 of the base rates without their sqrt(B) factor, flat for half the run, then linear to 0.

    Muon's momentum restarts at .85 and reaches .95 in 300 steps; its weight decay stays where pretraining
    left it, which the cosine makes 0.
    """
    factor = 0.8 / batch_scale
    return replace(
        pretraining,
        matrices=replace(
            pretraining.matrices,
            peak_rate=pretraining.matrices.peak_rate * factor,
            momentum_start=0.85,
            momentum_peak=0.95,
            momentum_final=0.95,
            momentum_warmup_steps=300,
            weight_decay=0.0,
        ),
        embedding=replace(pretraining.embedding, peak_rate=pretraining.embedding.peak_rate * factor),
        unembedding=replace(pretraining.unembedding, peak_rate=pretraining.unembedding.peak_rate * factor),
        schedule=Schedule(warmup_steps=0, warmdown_fraction=0.5, final_fraction=0.0),
    )


def miniseries_tag(depth: int, tokens_per_parameter: int, drop_percent: int | None, suffix: str = "") -> str:
    """`d{depth}_{tpp}tpp[_drope_{percent}]` + suffix."""
    drop = "" if drop_percent is None else f"_drope_{drop_percent}"
    return f"d{depth}_{tokens_per_parameter}tpp{drop}{suffix}"


def family_recipe(member: Member) -> Recipe:
    """A recipe of the family: what `member` does not say is the same for all."""
    finetuning = Finetuning(
        training=CHAT_TASKS,
        validation=VALIDATION_TASKS,
        persona=PERSONA,
        sequence_length=member.architecture.sequence_length,
        batch_tokens=member.batch_tokens,
        optimization=finetune_optimization(member.optimization, batch_scale=(member.batch_tokens / 524_288) ** 0.5),
        precision="bf16",
        seed=SEED,
    )
    long_finetuning = replace(finetuning, training=LONG_TASKS, sequence_length=2 * member.architecture.sequence_length)
    return Recipe(
        tag=member.tag,
        trunk=member.trunk,
        architecture=member.architecture,
        corpus=member.corpus,
        tokenizer=replace(TOKENIZER, vocabulary_size=member.architecture.vocabulary_size),
        pretraining=Pretraining(
            steps=member.steps,
            batch_tokens=member.batch_tokens,
            optimization=member.optimization,
            precision="fp8",
            seed=SEED,
            rope_drop=member.rope_drop,
            direction="forward",
            buffer_documents=1000,
        ),
        finetuning=finetuning,
        long_finetuning=long_finetuning if member.long else None,
        evaluation=EVALUATION,
        publication=PUBLICATION,
    )


def _recipe(depth: int, tokens_per_parameter: int, drop_percent: int | None, *, suffix: str) -> Recipe:
    architecture = family_architecture(depth)
    batch_tokens = family_batch_tokens(architecture)
    return family_recipe(
        Member(
            tag=miniseries_tag(depth, tokens_per_parameter, drop_percent, suffix),
            trunk=miniseries_tag(depth, tokens_per_parameter, None),
            architecture=architecture,
            corpus=CLIMBMIX,
            steps=horizon(architecture, tokens_per_parameter, batch_tokens),
            batch_tokens=batch_tokens,
            optimization=family_optimization(architecture, batch_tokens),
            rope_drop=None if drop_percent is None else drop_percent / 100,
            long=suffix == "_long",
        )
    )


def recipes() -> list[Recipe]:
    """All 20, in the order of the card: by size, horizon, drop, and long last."""
    return [
        _recipe(depth, tokens_per_parameter, drop, suffix=suffix)
        for (depth, tokens_per_parameter), (drops, long_drops) in SERIES.items()
        for drop in drops
        for suffix in ("", "_long")
        if suffix == "" or drop in long_drops
    ]
