"""What a tag has to publish: the exports and evaluations that are the inputs of its publish stage, read and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.export.certificate import Certificate
from core.lineage.lineage import LINEAGE_ROLE, NO_LINEAGE, Lineage, read_lineage
from core.model.architecture import Architecture
from core.publishing.gate import check_certificate
from core.recipes.vocabulary import FORWARD
from core.stages.context import StageError
from core.stages.kind import StageKind
from core.study.files import DOCUMENT, REPORT

EVALUATION_FILES = ("evaluation.json", "samples.md")  # published beside every model they are about
OVERLAP_FILES = ("decontamination.json", "decontamination.md")  # the same, where the recipe asks for them
LONG_FILES = ("long_context.json", "long_context.md")  # the same
STUDY_PAGE = "study.html"  # the report of the study, where there is one
CORE_FILES = ("core.json", "core.md")  # the same, of a base model


@dataclass(frozen=True)
class Deliverable:
    """The two exports of one model and its evaluation; `meta` is the native export's description."""

    phase: str  # base or sft
    folders: Mapping[str, Path]  # native, hf -> export
    evaluation_folder: Path
    meta: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    certificate: Certificate  # of the Hugging Face export, which has passed the gate
    overlap_folder: Path | None = None
    overlap: Mapping[str, Any] | None = None  # of evaluation questions with the pretraining text
    long_folder: Path | None = None
    long_evaluation: Mapping[str, Any] | None = None  # beyond the trained length
    core_folder: Path | None = None
    core: Mapping[str, Any] | None = None  # the metric CORE, of a base model
    study_folder: Path | None = None
    study: Mapping[str, Any] | None = None  # of the family that the model belongs to
    lineage: Lineage = NO_LINEAGE  # of everything above

    @property
    def architecture(self) -> Architecture:
        """Shapes of the model."""
        return Architecture(**self.meta["architecture"])

    @property
    def direction(self) -> str:
        """In which it reads: forward, backward or bidirectional."""
        return str(self.meta.get("direction", "forward"))

    @property
    def marks_direction(self) -> bool:
        """Whether each document begins by saying how it is read."""
        tokenizers = self.lineage.of_kind(StageKind.TOKENIZER)
        return self.direction != "forward" or any(FORWARD in one.identity["special_tokens"] for one in tokenizers)

    @property
    def native_weights(self) -> str:
        """The file that holds the weights of the native export."""
        return f"model_{self.meta['step']:06d}.pt"

    def holds_weights(self, layout: str, path: str) -> bool:
        """Whether the file at `path` of one of its repositories has weights: one of several, where they are split."""
        return path == self.native_weights if layout == "native" else path.endswith(".safetensors")

    def contents(self, layout: str) -> dict[str, Path]:
        """The files of one of its repositories, by path: an export, its evaluations, the report of overlaps."""
        folder = self.folders[layout]
        exported = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        evaluation = {name: self.evaluation_folder / name for name in EVALUATION_FILES}
        overlap = {name: self.overlap_folder / name for name in OVERLAP_FILES} if self.overlap_folder else {}
        beyond = {name: self.long_folder / name for name in LONG_FILES} if self.long_folder else {}
        core = {name: self.core_folder / name for name in CORE_FILES} if self.core_folder else {}
        study = {STUDY_PAGE: self.study_folder / REPORT} if self.study_folder else {}
        return exported | evaluation | overlap | beyond | core | study


def read_deliverables(inputs: Mapping[str, Path]) -> dict[str, Deliverable]:
    """The models by phase: the base always, the fine-tune when there is one.

    Raises `StageError` for half of one, and for an export that no certificate vouches for.
    """
    phases = ("base", "sft") if any(role.endswith("-sft") for role in inputs) else ("base",)
    lineage = read_lineage(inputs.get(LINEAGE_ROLE))
    return {phase: _read(phase, inputs, lineage) for phase in phases}


def _read(phase: str, inputs: Mapping[str, Path], lineage: Lineage) -> Deliverable:
    roles = [f"native-{phase}", f"hf-{phase}", f"evaluation-{phase}"]
    if missing := [role for role in roles if role not in inputs]:
        raise StageError(f"nothing can be published without the input {missing[0]}")
    native, hf, evaluation = (inputs[role] for role in roles)
    overlap, beyond = inputs.get("decontamination"), inputs.get(f"long-evaluation-{phase}")
    core, study = inputs.get(f"core-metric-{phase}"), inputs.get("study")
    return Deliverable(
        phase=phase,
        folders={"native": native, "hf": hf},
        evaluation_folder=evaluation,
        meta=_read_json(native, "meta_*.json"),
        evaluation=_read_json(evaluation, "evaluation.json"),
        overlap_folder=overlap,
        overlap=_read_json(overlap, "decontamination.json") if overlap else None,
        long_folder=beyond,
        long_evaluation=_read_json(beyond, "long_context.json") if beyond else None,
        core_folder=core,
        core=_read_json(core, "core.json") if core else None,
        study_folder=study,
        study=_read_json(study, DOCUMENT) if study else None,
        certificate=check_certificate(hf),
        lineage=lineage.behind((*roles, "decontamination", f"long-evaluation-{phase}", f"core-metric-{phase}")),
    )


def _read_json(folder: Path, pattern: str) -> dict[str, Any]:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise StageError(f"{folder}: {len(found)} files are named {pattern}, there must be one")
    document: dict[str, Any] = json.loads(found[0].read_bytes())
    return document
