"""The stage kinds of the DAG, their versions, and which function makes each: one row a kind.

A version is raised when the meaning of a kind's output changes; source text is never hashed.
A producer is named, not imported: planning must not pay for torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class StageKind(StrEnum):
    """What a stage does; also the first folder of its artifact."""

    CORPUS = "corpus"
    TOKENIZER = "tokenizer"
    PACK = "pack"
    PRETRAIN = "pretrain"
    RECALIBRATE = "recalibrate"
    MIXTURE = "mixture"
    QUESTIONS = "questions"
    CORE_BUNDLE = "core_bundle"
    SFT = "sft"
    LONG_SFT = "long_sft"
    EVALUATE = "evaluate"
    CORE_METRIC = "core_metric"
    LONG_CONTEXT = "long_context"
    DECONTAMINATE = "decontaminate"
    EXPORT_NATIVE = "export_native"
    EXPORT_HF = "export_hf"
    EXPORT_TWIN = "export_twin"
    PUBLISH = "publish"
    ADOPTED = "adopted"
    STUDY = "study"


class Resource(StrEnum):
    """What a stage mostly uses; `miniseries plan --json` says it, so that a scheduler can place the stage."""

    IO = "io"
    CPU = "cpu"
    GPU = "gpu"


@dataclass(frozen=True)
class Definition:
    """How one kind is made: `producer` is `module:function`, called with a `StageContext`."""

    version: int
    resource: Resource
    producer: str


DEFINITIONS: dict[StageKind, Definition] = {
    StageKind.CORPUS: Definition(1, Resource.IO, "core.data.corpus.collect:produce"),
    StageKind.TOKENIZER: Definition(2, Resource.CPU, "core.data.tokenizer_training:produce"),
    StageKind.PACK: Definition(2, Resource.CPU, "core.data.pack:produce"),
    StageKind.PRETRAIN: Definition(3, Resource.GPU, "core.training.pretrain:produce"),
    StageKind.RECALIBRATE: Definition(3, Resource.GPU, "core.training.recalibrate:produce"),
    StageKind.MIXTURE: Definition(2, Resource.CPU, "core.posttraining.mixture:produce"),
    StageKind.QUESTIONS: Definition(1, Resource.CPU, "core.posttraining.questions:produce"),
    StageKind.CORE_BUNDLE: Definition(1, Resource.IO, "core.evaluation.core_metric.collect:produce"),
    StageKind.SFT: Definition(2, Resource.GPU, "core.training.finetune:produce"),
    StageKind.LONG_SFT: Definition(2, Resource.GPU, "core.training.finetune:produce"),
    StageKind.EVALUATE: Definition(3, Resource.GPU, "core.evaluation.evaluate:produce"),
    StageKind.CORE_METRIC: Definition(1, Resource.GPU, "core.evaluation.core_metric.stage:produce"),
    StageKind.LONG_CONTEXT: Definition(1, Resource.GPU, "core.evaluation.long_context.stage:produce"),
    StageKind.DECONTAMINATE: Definition(1, Resource.CPU, "core.data.decontamination.decontaminate:produce"),
    StageKind.EXPORT_NATIVE: Definition(4, Resource.CPU, "core.export.native:produce"),
    StageKind.EXPORT_HF: Definition(4, Resource.CPU, "core.export.huggingface:produce"),
    StageKind.EXPORT_TWIN: Definition(2, Resource.CPU, "core.export.twin:produce"),
    StageKind.PUBLISH: Definition(5, Resource.IO, "core.publishing.publish:produce"),
    StageKind.ADOPTED: Definition(1, Resource.IO, "core.adoption.adopt:produce"),
    StageKind.STUDY: Definition(1, Resource.CPU, "core.study.stage:produce"),
}
