"""Identity parameters of every stage kind: the fields, and the only fields, that make its key besides its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.model.architecture import Architecture
from core.recipes.optimization import Optimization
from core.recipes.recipe import Direction, LongContext, MixtureTask, Persona, Precision, Visibility
from core.stages.kind import StageKind

StudiedPhase = Literal["base", "sft", "long_sft"]
PackedDirection = Direction | Literal["each"]  # each: the same documents forward and backward, for measuring


@dataclass(frozen=True, kw_only=True)
class CorpusIdentity:
    """Shards [first_shard, end_shard) of a source at a pinned revision."""

    source: str
    revision: str
    first_shard: int
    end_shard: int


@dataclass(frozen=True, kw_only=True)
class TokenizerIdentity:
    """A byte-pair vocabulary; input `corpus`."""

    vocabulary_size: int
    pattern: str
    special_tokens: tuple[str, ...]
    max_characters: int
    document_cap: int


@dataclass(frozen=True, kw_only=True)
class PackIdentity:
    """Rows of T+1 tokens from shards [first_shard, end_shard) of a corpus; inputs `tokenizer`, `corpus`."""

    row_tokens: int  # T + 1
    algorithm: str  # best-fit-crop
    buffer_documents: int
    direction: PackedDirection
    direction_seed: int
    first_shard: int
    end_shard: int


@dataclass(frozen=True, kw_only=True)
class TrainingIdentity:
    """Optimizer steps [first_step, end_step) of a horizon; inputs `group-000` and, except from step 0, `previous`.

    The first group defines the stream (see `core.planning.stream_length`); further groups are read, but not identity.
    """

    architecture: Architecture
    optimization: Optimization
    steps: int  # N, the whole horizon: schedules need it
    batch_tokens: int
    precision: Precision
    seed: int
    direction: Direction
    stream_shards: int  # where the stream ends and the next epoch begins
    first_step: int
    end_step: int
    use_rope: bool


@dataclass(frozen=True, kw_only=True)
class MixtureIdentity:
    """Conversations rendered, masked and packed to rows of T+1; inputs `tokenizer`, `corpus` (its words)."""

    training: tuple[MixtureTask, ...]
    validation: tuple[MixtureTask, ...]
    persona: Persona
    row_tokens: int  # T + 1
    seed: int


@dataclass(frozen=True, kw_only=True)
class QuestionsIdentity:
    """Examination questions of some tasks as text; input `corpus` (words of the spelling tasks)."""

    tasks: tuple[MixtureTask, ...]


@dataclass(frozen=True, kw_only=True)
class FinetuneIdentity:
    """One pass over a mixture; inputs `base` (weights and optimizer), `mixture`."""

    optimization: Optimization
    sequence_length: int
    batch_tokens: int
    precision: Precision
    seed: int


@dataclass(frozen=True, kw_only=True)
class EvaluateIdentity:
    """A suite and its sizes; inputs `model`, `tokenizer`, `validation` (rows or a mixture), for chat `questions`.

    For base `train` (the first group of the stream), `corpus` (its held-out shard), and, of a recalibrated model,
    `before_drop` (the trunk that it continues).
    """

    suite: str  # base or chat
    validation_tokens: int
    samples: int
    sample_tokens: int
    answer_tokens: int  # of a generated answer to a question, at most
    passages: int  # of the cloze task, 0 for chat
    held_out_shard: int  # of the corpus: the one that nothing was trained on
    seed: int


@dataclass(frozen=True, kw_only=True)
class CoreBundleIdentity:
    """The tasks of CORE: dclm's by their digest, or synthetic ones, then with input `corpus` (its held-out shard)."""

    bundle: Literal["synthetic", "dclm"]
    sha256: str | None  # of dclm's files
    examples: int | None  # the others are of synthetic tasks
    seed: int | None
    shard: int | None


@dataclass(frozen=True, kw_only=True)
class CoreMetricIdentity:
    """CORE of a base model; inputs `model`, `tokenizer`, `bundle`."""

    examples: int | None  # of each task, at most
    shuffle_seed: int
    shots_seed: int


@dataclass(frozen=True, kw_only=True)
class LongContextIdentity:
    """Reading within and beyond the trained length; inputs `model`, `tokenizer`, `corpus` (its held-out shard)."""

    measured: LongContext
    shard: int  # of the corpus: the one that nothing was trained on


@dataclass(frozen=True, kw_only=True)
class DecontaminateIdentity:
    """What training text shares with questions; inputs `questions`, `tokenizer`, `group-000`.

    The first group defines the stream; further groups are read, but not identity.
    """

    ngram: int  # words in a row
    rows: int  # of the stream that are read, from the first
    stream_shards: int  # where the stream ends and the next epoch begins


@dataclass(frozen=True, kw_only=True)
class ExportIdentity:
    """An export of a model; inputs `model`, `tokenizer`."""

    format_version: int
    phase: str  # base or sft


@dataclass(frozen=True, kw_only=True)
class PublishIdentity:
    """The repositories of one tag; inputs `native-`, `hf-`, `evaluation-` of `base` and `sft`, other measurements."""

    tag: str
    namespace: str
    visibility: Visibility
    collection: str | None  # title of the one that lists the series
    destination: str  # folder or hub


@dataclass(frozen=True, kw_only=True)
class AdoptedFile:
    """One file of a checkpoint that was made elsewhere."""

    path: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class AdoptedIdentity:
    """A model that was trained elsewhere, and its tokenizer; no inputs: it is what its files are."""

    files: tuple[AdoptedFile, ...]
    phase: str  # base or sft
    use_rope: bool | None  # said by whoever adopted it; None: the meta file says it


@dataclass(frozen=True, kw_only=True)
class StudiedModel:
    """One model of a study, as its recipe describes it."""

    name: str  # as in the roles of its evaluations
    trunk: str  # shared by models with the same pretraining up to a RoPE drop
    phase: StudiedPhase
    depth: int
    parameters: int  # all of them
    tokens: int  # of pretraining
    tokens_per_parameter: float  # by scaling parameters, two digits
    rope_drop: float | None
    direction: Direction
    sequence_length: int  # that it was last trained at


@dataclass(frozen=True, kw_only=True)
class StudyIdentity:
    """Contrasts of models; inputs `evaluate`, `long_context` and `core_metric` of each, as `{kind}:{name}`."""

    tags: tuple[str, ...]
    models: tuple[StudiedModel, ...]
    resamples: int
    seed: int


Identity = (
    CorpusIdentity
    | TokenizerIdentity
    | PackIdentity
    | TrainingIdentity
    | MixtureIdentity
    | QuestionsIdentity
    | FinetuneIdentity
    | EvaluateIdentity
    | CoreBundleIdentity
    | CoreMetricIdentity
    | LongContextIdentity
    | DecontaminateIdentity
    | ExportIdentity
    | PublishIdentity
    | AdoptedIdentity
    | StudyIdentity
)

IDENTITY_TYPES: dict[StageKind, type[Identity]] = {
    StageKind.CORPUS: CorpusIdentity,
    StageKind.TOKENIZER: TokenizerIdentity,
    StageKind.PACK: PackIdentity,
    StageKind.PRETRAIN: TrainingIdentity,
    StageKind.RECALIBRATE: TrainingIdentity,
    StageKind.MIXTURE: MixtureIdentity,
    StageKind.QUESTIONS: QuestionsIdentity,
    StageKind.SFT: FinetuneIdentity,
    StageKind.LONG_SFT: FinetuneIdentity,
    StageKind.EVALUATE: EvaluateIdentity,
    StageKind.CORE_BUNDLE: CoreBundleIdentity,
    StageKind.CORE_METRIC: CoreMetricIdentity,
    StageKind.LONG_CONTEXT: LongContextIdentity,
    StageKind.DECONTAMINATE: DecontaminateIdentity,
    StageKind.EXPORT_NATIVE: ExportIdentity,
    StageKind.EXPORT_HF: ExportIdentity,
    StageKind.EXPORT_TWIN: ExportIdentity,
    StageKind.PUBLISH: PublishIdentity,
    StageKind.ADOPTED: AdoptedIdentity,
    StageKind.STUDY: StudyIdentity,
}
