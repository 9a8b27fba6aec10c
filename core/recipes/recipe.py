"""A recipe: everything that decides what a model is, frozen, typed and named by its tag.

What it does not hold (devices, world size, micro-batch, paths, logging, evaluation cadence) cannot
reach a key: those live in `core.stages.runtime.Runtime`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.model.architecture import Architecture
from core.recipes.optimization import Optimization

Direction = Literal["forward", "backward", "bidirectional"]
Precision = Literal["fp32", "bf16", "fp8"]
Visibility = Literal["private", "public"]


class RecipeError(ValueError):
    """A recipe that cannot be trained: says which field, why, and what would be allowed."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Where pretraining text comes from: numbered parquet shards, the last of them held out for validation."""

    source: str  # a name in core.data.corpus.sources, or `<scheme>:<place>` as core.data.corpus.source_text says
    revision: str  # pinned: a commit, or for python-docs the interpreter and a digest of its sources
    training_shards: int  # the validation shard is number `validation_shard`
    validation_shard: int
    shards_per_group: int  # one group is one corpus stage and one pack stage
    tokens_per_shard: int  # pessimistic estimate: how long a stream is expected to be while none of it is packed
    collected_at_once: bool = False  # one corpus stage makes every shard: cheap where shards are parsed, not fetched

    @property
    def groups(self) -> int:
        """How many shard groups there are; after the last, the next epoch begins."""
        return -(-self.training_shards // self.shards_per_group)

    def group(self, index: int) -> tuple[int, int]:
        """The shards [first, end) of one group."""
        first = index * self.shards_per_group
        return first, min(first + self.shards_per_group, self.training_shards)

    def collected_with(self, first_shard: int, end_shard: int) -> tuple[int, int]:
        """The shards [first, end) of the corpus stage that holds these."""
        return (0, self.validation_shard + 1) if self.collected_at_once else (first_shard, end_shard)


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """A byte-pair vocabulary trained on the first shard group."""

    vocabulary_size: int  # special tokens included
    pattern: str  # split regex
    special_tokens: tuple[str, ...]  # in id order, at the top of the vocabulary
    max_characters: int
    document_cap: int  # characters of one document that training reads


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The horizon and how it is spent. `rope_drop` is the fraction trained with RoPE; None keeps it throughout."""

    steps: int  # N
    batch_tokens: int  # B
    optimization: Optimization
    precision: Precision
    seed: int
    rope_drop: float | None
    direction: Direction
    buffer_documents: int  # of the best-fit packer


@dataclass(frozen=True, kw_only=True)
class MixtureTask:
    """One task of a mixture or an examination: `rows` of it (None: all), each seen `epochs` times."""

    name: str  # a name in core.posttraining.tasks
    rows: int | None
    epochs: int = 1


@dataclass(frozen=True, kw_only=True)
class Persona:
    """Who a fine-tuned model says it is, in the words that the identity task puts into its sentences."""

    name: str
    family: str  # a small language model of ...
    maker: str  # was trained by ...
    design: str  # which follows ...
    skills: str  # can ...
    conversations: str | None = None  # a pinned file that says it instead: conversations:URL#sha256=HEX


@dataclass(frozen=True, kw_only=True)
class Finetuning:
    """Supervised fine-tuning of the base model, from its weights and its optimizer state."""

    training: tuple[MixtureTask, ...]
    validation: tuple[MixtureTask, ...]
    persona: Persona  # of the identity task
    sequence_length: int
    batch_tokens: int
    optimization: Optimization
    precision: Precision
    seed: int


@dataclass(frozen=True, kw_only=True)
class PinnedFile:
    """A file of a data set, by its path there and its sha256."""

    path: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A public benchmark of long contexts: its files on the mirror, and how many questions of each task are asked."""

    name: Literal["longbench", "nolima"]
    revision: str
    files: tuple[PinnedFile, ...]
    questions: int


@dataclass(frozen=True, kw_only=True)
class LongContext:
    """What is measured within and beyond the trained length, and how much of it."""

    factors: tuple[int, ...]  # of the trained length, ascending
    documents: int  # texts of each length whose bits per byte are measured
    fitting_documents: int  # texts of the greatest length on which the logit scale is fitted
    needle_trials: int  # of each kind at each length
    needle_depths: int  # over which they are spread
    choices: int  # candidates of which one is right
    answer_tokens: int  # room that a prompt leaves for the answer
    seed: int
    benchmarks: tuple[Benchmark, ...] = ()  # those that are not here are reported as missing

    def __post_init__(self) -> None:
        if not self.factors or list(self.factors) != sorted(set(self.factors)) or self.factors[0] < 1:
            raise RecipeError(f"long_context: factors {self.factors} must be whole numbers from 1 upwards, ascending")
        if self.choices < 2:
            raise RecipeError(f"long_context: {self.choices} choices leave nothing to tell apart; use at least 2")
        counts = (self.documents, self.fitting_documents, self.needle_trials, self.needle_depths, self.answer_tokens)
        if min(counts) < 1:
            raise RecipeError("long_context: documents, trials, depths and answer_tokens must be at least 1")


@dataclass(frozen=True, kw_only=True)
class CoreMetric:
    """CORE of the base model: on which bundle of tasks, and how it is asked."""

    bundle: Literal["synthetic", "dclm"]  # synthetic: made from the held-out shard
    sha256: str | None = None  # of dclm's files; None: as MINISERIES_CORE_BUNDLE says, and missing if it says nothing
    examples: int | None  # of each task, at most; None: all
    shuffle_seed: int = 1337  # with these two, examples and shots are those that nanochat asks
    shots_seed: int = 1234

    def __post_init__(self) -> None:
        if self.bundle == "synthetic" and self.examples is None:
            raise RecipeError("core_metric: a synthetic bundle is as large as it is said to be; give examples")
        if self.examples is not None and self.examples < 1:
            raise RecipeError(f"core_metric: {self.examples} examples measure nothing; give at least 1")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Sizes of the evaluation suites, and what a fine-tuned model is examined in."""

    validation_tokens: int
    samples: int
    sample_tokens: int
    questions: tuple[MixtureTask, ...]  # of each task's validation split
    answer_tokens: int  # of a generated answer, at most
    cloze_passages: int = 0  # held-out passages of which a base model finds a hidden word
    decontaminate: Literal["report"] | None = "report"  # which of the questions stand in the pretraining text
    long_context: LongContext | None = None
    core_metric: CoreMetric | None = None


@dataclass(frozen=True, kw_only=True)
class Publication:
    """Where the four repositories `{namespace}/nanochat-{tag}-{base,sft,hf-base,hf-sft}` go."""

    destination: Literal["folder", "hub"]  # folder: `hub/` in the store, laid out like the Hub
    namespace: str
    twin: bool = False  # also make each model as Qwen3ForCausalLM, for engines that run no code from a repository
    visibility: Visibility  # of repositories that are all in: until then they are private
    collection: str | None = None  # title of the collection in which the series is listed


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One model of the family, from corpus to publication."""

    tag: str
    trunk: str  # name shared by every tag with the same RoPE-on pretraining, e.g. d20_40tpp
    architecture: Architecture
    corpus: Corpus
    tokenizer: Tokenizer
    pretraining: Pretraining
    finetuning: Finetuning | None
    long_finetuning: Finetuning | None
    evaluation: Evaluation
    publication: Publication

    def __post_init__(self) -> None:
        self._check_division()
        drop = self.pretraining.rope_drop
        if drop is not None and drop not in CUT_FRACTIONS[:-1]:
            raise RecipeError(
                f"{self.tag}: rope_drop {drop} is not a segment cut; choose one of 0.25, 0.5, 0.75 or None"
            )
        if self.tokenizer.vocabulary_size != self.architecture.vocabulary_size:
            raise RecipeError(
                f"{self.tag}: the tokenizer has {self.tokenizer.vocabulary_size} tokens, "
                f"the architecture {self.architecture.vocabulary_size}; make them equal"
            )

    def _check_division(self) -> None:
        batches = [("pretraining", self.pretraining.batch_tokens, self.architecture.sequence_length)]
        for name, tuning in (("finetuning", self.finetuning), ("long_finetuning", self.long_finetuning)):
            if tuning is not None:
                batches.append((name, tuning.batch_tokens, tuning.sequence_length))
        for name, batch_tokens, sequence_length in batches:
            if batch_tokens % sequence_length:
                raise RecipeError(
                    f"{self.tag}: {name} batch of {batch_tokens:,} tokens is not a whole number of rows of "
                    f"{sequence_length:,}; the nearest is {batch_tokens // sequence_length * sequence_length:,}"
                )
        if self.pretraining.steps < len(CUT_FRACTIONS):
            raise RecipeError(f"{self.tag}: {self.pretraining.steps} steps cannot be cut in four; use at least 4")

    @property
    def base_tag(self) -> str:
        """The name of the base model, which tags that differ only in what comes after pretraining share."""
        drop = self.pretraining.rope_drop
        return self.trunk if drop is None else f"{self.trunk}_drope_{round(100 * drop)}"

    @property
    def cuts(self) -> tuple[int, ...]:
        """Optimizer steps at which every trunk of this horizon is cut: round(pN), p = 25, 50, 75, 100 %."""
        return tuple(round(fraction * self.pretraining.steps) for fraction in CUT_FRACTIONS)

    @property
    def drop_step(self) -> int | None:
        """The step before whose update RoPE is switched off, or None."""
        drop = self.pretraining.rope_drop
        return None if drop is None else round(drop * self.pretraining.steps)

    @property
    def tokens(self) -> int:
        """Pretraining tokens: N times B."""
        return self.pretraining.steps * self.pretraining.batch_tokens

    @property
    def warmdown_start(self) -> int:
        """N - W, the first step whose rate is below the plateau."""
        steps = self.pretraining.steps
        return steps - round(self.pretraining.optimization.schedule.warmdown_fraction * steps)


CUT_FRACTIONS = (0.25, 0.5, 0.75, 1.0)
