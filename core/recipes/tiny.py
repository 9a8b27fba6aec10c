"""The tiny family: every stage of the real one, on text that each Python carries, in minutes on a laptop.

0.7M scaling parameters, 0.6M tokens: small enough for two CPU cores, large enough that the loss falls and
the RoPE drop shows. Rates are set by hand: the family's batch law would take them to nothing at B = 2048.
"""

from __future__ import annotations

from dataclasses import replace

from core.data.corpus import python_docs
from core.model.architecture import Architecture, swiglu_width
from core.recipes.bidirectional import DIRECTIONS
from core.recipes.member import Member
from core.recipes.miniseries import PERSONA, TOKENIZER
from core.recipes.optimization import AdamW, Muon, Optimization, Schedule
from core.recipes.recipe import (
    CoreMetric,
    Corpus,
    Direction,
    Evaluation,
    Finetuning,
    LongContext,
    MixtureTask,
    Pretraining,
    Publication,
    Recipe,
)
from core.recipes.vocabulary import DIRECTION_TOKENS

SEED = 42
DEPTH = 2
HEAD_WIDTH = 64
BATCH_TOKENS = 2048
STEPS = 280
DROP_PERCENTS: tuple[int | None, ...] = (None, 25, 50, 75)

OPTIMIZATION = Optimization(
    matrices=Muon(
        peak_rate=0.02,
        orthogonalization="polar-express",
        second_moment_beta=0.9,
        momentum_start=0.85,
        momentum_peak=0.95,
        momentum_final=0.90,
        momentum_warmup_steps=50,
        weight_decay=0.1,
    ),
    embedding=AdamW(peak_rate=0.2, beta1=0.8, beta2=0.995, epsilon=1e-10, weight_decay=0.001),
    unembedding=AdamW(peak_rate=0.006, beta1=0.8, beta2=0.96, epsilon=1e-10, weight_decay=0.01),
    schedule=Schedule(warmup_steps=10, warmdown_fraction=0.65, final_fraction=0.05),
    gradient_clip=None,
)


def tiny_architecture(depth: int, width: int | None = None) -> Architecture:
    """Width 64 per layer unless it is given, rounded up to whole heads of 64."""
    width = -(-(width or depth * 64) // HEAD_WIDTH) * HEAD_WIDTH
    return Architecture(
        depth=depth,
        width=width,
        heads=width // HEAD_WIDTH,
        key_value_heads=width // HEAD_WIDTH,
        head_width=HEAD_WIDTH,
        mlp="swiglu",
        mlp_width=swiglu_width(width),
        vocabulary_size=2048,
        sequence_length=256,
        rope_base=100_000.0,
        logit_softcap=15.0,
        norm_epsilon=1e-6,
        normalize_embedding=False,
    )


ARCHITECTURE = tiny_architecture(DEPTH)

TRAINING_TASKS = (  # made by programs: no network
    MixtureTask(name="simple-spelling", rows=1000),
    MixtureTask(name="spelling-bee", rows=400),
    MixtureTask(name="arithmetic", rows=400),
    MixtureTask(name="word-choice", rows=400),
)
VALIDATION_TASKS = tuple(MixtureTask(name=task.name, rows=32) for task in TRAINING_TASKS)
QUESTIONS = VALIDATION_TASKS
LONG_CONTEXT = LongContext(  # 10 to 25 s of one core, the long fine-tune longest
    factors=(1, 2, 4, 8),
    documents=8,  # from six on, a study can tell a difference from chance
    fitting_documents=2,
    needle_trials=3,
    needle_depths=3,
    choices=4,
    answer_tokens=80,
    seed=SEED,
)
CORE_METRIC = CoreMetric(bundle="synthetic", examples=100)


def finetuning(optimization: Optimization, sequence_length: int, batch_tokens: int) -> Finetuning:
    """Fine-tuning at .8 of the base rates, without weight decay, flat for half the run, then linear to 0."""
    matrices, embedding, unembedding = optimization.matrices, optimization.embedding, optimization.unembedding
    return Finetuning(
        training=TRAINING_TASKS,
        validation=VALIDATION_TASKS,
        persona=PERSONA,
        sequence_length=sequence_length,
        batch_tokens=batch_tokens,
        optimization=replace(
            optimization,
            matrices=replace(
                matrices,
                peak_rate=0.8 * matrices.peak_rate,
                momentum_final=matrices.momentum_peak,
                weight_decay=0.0,
            ),
            embedding=replace(embedding, peak_rate=0.8 * embedding.peak_rate),
            unembedding=replace(unembedding, peak_rate=0.8 * unembedding.peak_rate),
            schedule=Schedule(warmup_steps=0, warmdown_fraction=0.5, final_fraction=0.0),
        ),
        precision="fp32",
        seed=SEED,
    )


def corpus() -> Corpus:
    """The Python documentation of the interpreter that asks: its revision is part of every key below it."""
    return Corpus(
        source=python_docs.NAME,
        revision=python_docs.revision(),
        training_shards=8,
        validation_shard=8,
        shards_per_group=4,
        tokens_per_shard=60_000,
        collected_at_once=True,
    )


def tiny_recipe(member: Member) -> Recipe:
    """A recipe of the family: what `member` does not say is the same for all."""
    length = member.architecture.sequence_length
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
            precision="fp32",
            seed=SEED,
            rope_drop=member.rope_drop,
            direction="forward",
            buffer_documents=1000,
        ),
        finetuning=finetuning(member.optimization, length, member.batch_tokens),
        long_finetuning=finetuning(member.optimization, 2 * length, member.batch_tokens) if member.long else None,
        evaluation=Evaluation(
            validation_tokens=32_768,
            samples=4,
            sample_tokens=64,
            questions=QUESTIONS,
            answer_tokens=192,
            cloze_passages=100,
            long_context=LONG_CONTEXT,
            core_metric=CORE_METRIC,
        ),
        publication=Publication(
            destination="folder", namespace="miniseries", visibility="private", collection="tiny miniseries"
        ),
    )


def _recipe(drop_percent: int | None, *, suffix: str) -> Recipe:
    drop = "" if drop_percent is None else f"_drope_{drop_percent}"
    return tiny_recipe(
        Member(
            tag=f"tiny{drop}{suffix}",
            trunk="tiny",
            architecture=ARCHITECTURE,
            corpus=corpus(),
            steps=STEPS,
            batch_tokens=BATCH_TOKENS,
            optimization=OPTIMIZATION,
            rope_drop=None if drop_percent is None else drop_percent / 100,
            long=suffix == "_long",
        )
    )


def _one_vocabulary(direction: Direction) -> Recipe:
    """One of the tiny models whose documents say how they are read; `core.recipes.bidirectional` says why all do."""
    forward = _recipe(None, suffix="")
    return replace(
        forward,
        tag=f"tiny_{direction}",
        trunk=f"tiny_{direction}",
        architecture=replace(ARCHITECTURE, mlp="relu2", mlp_width=4 * ARCHITECTURE.width, normalize_embedding=True),
        tokenizer=replace(forward.tokenizer, special_tokens=(*forward.tokenizer.special_tokens, *DIRECTION_TOKENS)),
        pretraining=replace(forward.pretraining, direction=direction),
        finetuning=None,
    )


def recipes() -> list[Recipe]:
    """Four RoPE schedules, each with and without the long fine-tune, and the bidirectional one with its siblings."""
    family = [_recipe(drop, suffix=suffix) for drop in DROP_PERCENTS for suffix in ("", "_long")]
    return [*family, *(_one_vocabulary(direction) for direction in DIRECTIONS)]
