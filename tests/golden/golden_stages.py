"""Golden artifacts of every kind, several where it has variants, made by the real producers from fixed inputs."""

from __future__ import annotations

import io
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fingerprints import FINGERPRINTS, Fingerprint, files
from fixed_hub import COMMIT, SHARDS
from fixed_inputs import FixedInputs
from fixed_models import LENGTH, OPTIMIZATION, RELU2, ROWS_PER_STEP, STEPS, SWIGLU
from fixed_study import DROPPED, KEPT
from fixed_text import write_standard_library

from artifacts.progress import SavedCheckpoint
from core.data.corpus import python_docs
from core.recipes.miniseries import PERSONA
from core.recipes.recipe import LongContext, MixtureTask
from core.recipes.vocabulary import SPECIAL_TOKENS, SPLIT_PATTERN
from core.stages.child import find_producer
from core.stages.context import StageContext
from core.stages.identity import (
    AdoptedIdentity,
    CoreBundleIdentity,
    CoreMetricIdentity,
    CorpusIdentity,
    DecontaminateIdentity,
    EvaluateIdentity,
    ExportIdentity,
    FinetuneIdentity,
    Identity,
    LongContextIdentity,
    MixtureIdentity,
    PackIdentity,
    PublishIdentity,
    QuestionsIdentity,
    StudyIdentity,
    TokenizerIdentity,
    TrainingIdentity,
)
from core.stages.kind import DEFINITIONS, StageKind
from core.stages.report import Reporter
from core.stages.runtime import Runtime


class NoCheckpoints:
    """Golden stages are neither interrupted nor resumed."""

    def save(self, step: int, directory: Path) -> None:
        raise AssertionError("a golden stage saved a checkpoint")

    def newest(self) -> SavedCheckpoint | None:
        return None

    def every(self) -> list[SavedCheckpoint]:
        return []


@dataclass(frozen=True)
class Case:
    """One stage: `inputs` maps roles to attributes of `FixedInputs`."""

    identity: Identity
    inputs: Mapping[str, str] = field(default_factory=dict)


SEGMENT = TrainingIdentity(
    architecture=SWIGLU,
    optimization=OPTIMIZATION,
    steps=STEPS,
    batch_tokens=ROWS_PER_STEP * LENGTH,
    precision="fp32",
    seed=42,
    direction="forward",
    stream_shards=2,
    first_step=0,
    end_step=6,
    use_rope=True,
)
PLAIN = replace(
    OPTIMIZATION,
    matrices=replace(OPTIMIZATION.matrices, orthogonalization="newton-schulz", second_moment_beta=None),
    gradient_clip=1.0,
)
TUNING = FinetuneIdentity(
    optimization=OPTIMIZATION,
    sequence_length=LENGTH,
    batch_tokens=ROWS_PER_STEP * LENGTH,
    precision="fp32",
    seed=42,
)
STREAM = {
    "group-000": "rows",
    "group-001": "more_rows",
    "validation": "validation_rows",
    "tokenizer": "tokenizer",
}
TASKS = tuple(
    MixtureTask(name=name, rows=rows, epochs=epochs)
    for name, rows, epochs in (("simple-spelling", 12, 2), ("spelling-bee", 8, 1), ("identity", 8, 1))
)
QUESTIONS = tuple(
    MixtureTask(name=name, rows=5) for name in ("simple-spelling", "spelling-bee", "arithmetic", "word-choice")
)
DELIVERED = {
    "native-base": "native_base",
    "native-sft": "native_chat",
    "hf-base": "hf_export",
    "hf-sft": "hf_export",
    "evaluation-base": "evaluation",
    "evaluation-sft": "evaluation",
    "lineage": "lineage",
}
SIZES = {
    "validation_tokens": 256,
    "samples": 2,
    "sample_tokens": 8,
    "answer_tokens": 24,
    "passages": 10,
    "held_out_shard": 2,
    "seed": 42,
}
MEASURED_ON = {"tokenizer": "tokenizer", "validation": "validation_rows", "train": "rows", "corpus": "corpus"}
MEASURED = LongContext(
    factors=(1, 8),
    documents=3,
    fitting_documents=1,
    needle_trials=2,
    needle_depths=2,
    choices=3,
    answer_tokens=48,
    seed=42,
)
EXPORTS = {
    phase: Case(ExportIdentity(format_version=1, phase=phase), {"model": model, "tokenizer": "tokenizer"})
    for phase, model in (("base", "base_model"), ("sft", "chat_model"))
}

CASES: Mapping[StageKind, Mapping[str, Case]] = {
    StageKind.TOKENIZER: {
        "bytes-and-pairs": Case(
            TokenizerIdentity(
                vocabulary_size=400,
                pattern=SPLIT_PATTERN,
                special_tokens=SPECIAL_TOKENS,
                max_characters=25_000,
                document_cap=500,
            ),
            {"corpus": "corpus"},
        )
    },
    StageKind.PACK: {
        "forward": Case(
            PackIdentity(
                row_tokens=LENGTH + 1,
                algorithm="best-fit-crop",
                buffer_documents=20,
                direction="forward",
                direction_seed=0,
                first_shard=0,
                end_shard=2,
            ),
            {"tokenizer": "tokenizer", "corpus": "corpus"},
        )
    },
    StageKind.PRETRAIN: {
        "swiglu": Case(SEGMENT, STREAM),
        "relu2": Case(replace(SEGMENT, architecture=RELU2, optimization=PLAIN), STREAM),
        "continued": Case(replace(SEGMENT, first_step=6, end_step=STEPS), {"previous": "base_model", **STREAM}),
    },
    StageKind.RECALIBRATE: {
        "rest": Case(
            replace(SEGMENT, first_step=6, end_step=STEPS, use_rope=False), {"previous": "base_model", **STREAM}
        )
    },
    StageKind.MIXTURE: {
        "generated": Case(
            MixtureIdentity(training=TASKS, validation=TASKS[:2], persona=PERSONA, row_tokens=4 * LENGTH + 1, seed=42),
            {"tokenizer": "tokenizer", "corpus": "corpus"},
        )
    },
    StageKind.QUESTIONS: {"generated": Case(QuestionsIdentity(tasks=QUESTIONS), {"corpus": "corpus"})},
    StageKind.SFT: {"short": Case(TUNING, {"base": "base_model", "mixture": "mixture", "tokenizer": "tokenizer"})},
    StageKind.LONG_SFT: {
        "long": Case(
            replace(TUNING, sequence_length=2 * LENGTH),
            {"base": "base_model", "mixture": "long_mixture", "tokenizer": "tokenizer"},
        )
    },
    StageKind.EVALUATE: {
        "base": Case(
            EvaluateIdentity(suite="base", **SIZES),
            {"model": "base_model", **MEASURED_ON},
        ),
        "recalibrated": Case(
            EvaluateIdentity(suite="base", **SIZES),
            {"model": "chat_model", "before_drop": "base_model", **MEASURED_ON},
        ),
        "chat": Case(
            EvaluateIdentity(suite="chat", **SIZES),
            {"model": "chat_model", "tokenizer": "tokenizer", "validation": "mixture", "questions": "questions"},
        ),
    },
    StageKind.CORE_BUNDLE: {
        "synthetic": Case(
            CoreBundleIdentity(bundle="synthetic", sha256=None, examples=12, seed=7, shard=2), {"corpus": "corpus"}
        )
    },
    StageKind.CORE_METRIC: {
        "base": Case(
            CoreMetricIdentity(examples=None, shuffle_seed=1337, shots_seed=1234),
            {"model": "base_model", "tokenizer": "tokenizer", "bundle": "core_bundle"},
        )
    },
    StageKind.LONG_CONTEXT: {
        "base": Case(
            LongContextIdentity(measured=MEASURED, shard=2),
            {"model": "base_model", "tokenizer": "tokenizer", "corpus": "corpus"},
        ),
        "chat": Case(
            LongContextIdentity(measured=replace(MEASURED, factors=(1, 4)), shard=2),
            {"model": "chat_model", "tokenizer": "tokenizer", "corpus": "corpus"},
        ),
    },
    StageKind.DECONTAMINATE: {
        "quoted": Case(
            DecontaminateIdentity(ngram=3, rows=1000, stream_shards=1),
            {"questions": "quoting_questions", "tokenizer": "tokenizer", "group-000": "text_rows"},
        )
    },
    StageKind.EXPORT_NATIVE: EXPORTS,
    StageKind.EXPORT_HF: EXPORTS,
    StageKind.EXPORT_TWIN: EXPORTS,
    StageKind.PUBLISH: {
        "folder": Case(
            PublishIdentity(
                tag="golden_drope_50",
                namespace="lab",
                visibility="private",
                collection="golden",
                destination="folder",
            ),
            DELIVERED,
        )
    },
    StageKind.STUDY: {
        "pair": Case(
            StudyIdentity(tags=("golden",), models=(KEPT.studied, DROPPED.studied), resamples=500, seed=42),
            {
                f"{kind}:{model.name}": f"{kind}_of_{which}"
                for which, model in (("kept", KEPT), ("dropped", DROPPED))
                for kind in ("evaluate", "long_context")
            },
        )
    },
    StageKind.ADOPTED: {
        "base": Case(
            AdoptedIdentity(files=(), phase="base", use_rope=False),
            {"checkpoint": "checkpoint", "tokenizer": "checkpoint"},
        )
    },
}


def cases(kind: StageKind) -> Mapping[str, Case]:
    """The golden stages of one kind by name. The revision of python-docs names the interpreter, so it is asked for."""
    if kind is not StageKind.CORPUS:
        return CASES[kind]
    docs = python_docs.revision()
    return {
        "hub": Case(CorpusIdentity(source="climbmix", revision=COMMIT, first_shard=0, end_shard=SHARDS)),
        "docs": Case(CorpusIdentity(source=python_docs.NAME, revision=docs, first_shard=0, end_shard=9)),
    }


def measure(kind: StageKind, root: Path) -> Fingerprint:
    """Make every case of `kind` below the folder `root`; entries of the fingerprint begin with the case's name."""
    inputs, found = FixedInputs(root / "inputs"), Fingerprint()
    with standard_library(root / "interpreter"):
        for name, case in cases(kind).items():
            output = root / name
            for entry, value in _make(kind, case, inputs, output).items():
                found[f"{name}: {entry}"] = value
    return found


def _make(kind: StageKind, case: Case, inputs: FixedInputs, root: Path) -> Fingerprint:
    output, scratch, published = root / "output", root / "scratch", root / "published"
    for folder in (output, scratch, published):
        folder.mkdir(parents=True)
    context: StageContext[Any] = StageContext(
        name="golden",
        key="0" * 64,
        identity=case.identity,
        inputs={role: getattr(inputs, attribute) for role, attribute in case.inputs.items()},
        output=output,
        scratch=scratch,
        checkpoints=NoCheckpoints(),
        report=Reporter(io.StringIO()),
        runtime=Runtime(evaluate_steps=3, validation_batches=1, publication_url=published.as_uri()),
    )
    find_producer(DEFINITIONS[kind].producer)(context)
    return {**FINGERPRINTS[kind](output), **files(published)}


@contextmanager
def standard_library(prefix: Path) -> Iterator[None]:
    """Where `python-docs` looks for its sources, this process has a small library that is the same in every Python."""
    variables = sysconfig.get_config_vars()
    genuine = variables["installed_base"]
    variables["installed_base"] = str(prefix)
    try:
        write_standard_library(Path(sysconfig.get_path("stdlib")))
        yield
    finally:
        variables["installed_base"] = genuine
