"""Which task performs which stage kind: one row a kind."""

from __future__ import annotations

from typing import Any

from prefect import Task

from core.stages.kind import StageKind
from tasks.core_bundle import core_bundle
from tasks.core_metric import core_metric
from tasks.corpus import corpus
from tasks.decontaminate import decontaminate
from tasks.evaluate import evaluate
from tasks.export_hf import export_hf
from tasks.export_native import export_native
from tasks.export_twin import export_twin
from tasks.long_context import long_context
from tasks.long_sft import long_sft
from tasks.mixture import mixture
from tasks.pack import pack
from tasks.pretrain import pretrain
from tasks.publish import publish
from tasks.questions import questions
from tasks.recalibrate import recalibrate
from tasks.sft import sft
from tasks.tokenizer import tokenizer

TASKS: dict[StageKind, Task[..., Any]] = {
    StageKind.CORPUS: corpus,
    StageKind.TOKENIZER: tokenizer,
    StageKind.PACK: pack,
    StageKind.PRETRAIN: pretrain,
    StageKind.RECALIBRATE: recalibrate,
    StageKind.MIXTURE: mixture,
    StageKind.QUESTIONS: questions,
    StageKind.SFT: sft,
    StageKind.LONG_SFT: long_sft,
    StageKind.CORE_BUNDLE: core_bundle,
    StageKind.EVALUATE: evaluate,
    StageKind.CORE_METRIC: core_metric,
    StageKind.LONG_CONTEXT: long_context,
    StageKind.DECONTAMINATE: decontaminate,
    StageKind.EXPORT_NATIVE: export_native,
    StageKind.EXPORT_HF: export_hf,
    StageKind.EXPORT_TWIN: export_twin,
    StageKind.PUBLISH: publish,
}
