"""What people call a stage: in tables, in the Prefect UI, in error messages. The same for every tag that shares it."""

from __future__ import annotations

from core.planning.stage import Stage
from core.stages.identity import PackIdentity, TrainingIdentity
from core.stages.kind import StageKind

VERBS = {
    StageKind.CORPUS: "collect corpus",
    StageKind.TOKENIZER: "train tokenizer",
    StageKind.PACK: "pack",
    StageKind.PRETRAIN: "pretrain",
    StageKind.RECALIBRATE: "recalibrate without RoPE",
    StageKind.MIXTURE: "build mixture",
    StageKind.QUESTIONS: "collect questions",
    StageKind.SFT: "fine-tune",
    StageKind.LONG_SFT: "fine-tune long",
    StageKind.CORE_BUNDLE: "collect tasks of CORE",
    StageKind.EVALUATE: "evaluate",
    StageKind.CORE_METRIC: "measure CORE of",
    StageKind.LONG_CONTEXT: "measure long context of",
    StageKind.DECONTAMINATE: "decontaminate",
    StageKind.EXPORT_NATIVE: "export native",
    StageKind.EXPORT_HF: "export Hugging Face",
    StageKind.EXPORT_TWIN: "export Qwen3 twin",
    StageKind.PUBLISH: "publish",
    StageKind.ADOPTED: "adopt",
    StageKind.STUDY: "study",
}


def title(stage: Stage) -> str:
    """`pretrain tiny steps 0-75`: verb and subject."""
    return f"{VERBS[stage.kind]} {_subject(stage)}"


def unique_title(stage: Stage) -> str:
    """`pretrain tiny steps 0-75 [3fa2c1b4]`: the title and eight digits of the key."""
    return f"{title(stage)} [{stage.key[:8]}]"


def _subject(stage: Stage) -> str:
    identity = stage.identity
    if isinstance(identity, TrainingIdentity):
        trunk = stage.name.rsplit("-", 2)[0] if stage.kind is StageKind.PRETRAIN else stage.name
        return f"{trunk} steps {identity.first_step:,}-{identity.end_step:,}"
    if isinstance(identity, PackIdentity):
        source = stage.name.rsplit("-", 2)[0]
        return f"{source} shards {identity.first_shard}-{identity.end_shard - 1}"
    return stage.name
