"""What a model was made from, trunk to leaf: of each stage key, identity, inputs, files, metrics and code revision.

Read from a folder that `core.lineage.ancestry` gathers. No time of day and no host is in it, so the same artifacts
give the same lineage; `lineage.json` is published beside the model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from artifacts.encoding import canonical
from artifacts.manifest import FileRecord
from core.stages.context import StageError
from core.stages.kind import StageKind

LINEAGE = "lineage.json"
LINEAGE_ROLE = "lineage"  # of the gathered folder among a stage's inputs; no stage makes it
LINEAGE_READERS = frozenset({StageKind.EXPORT_NATIVE, StageKind.PUBLISH, StageKind.STUDY})  # say what made a model
TRACES = ("loss.jsonl", "metrics.jsonl")  # kept of every training stage, under its key
PHASES = {"base": (StageKind.PRETRAIN, StageKind.RECALIBRATE), "sft": (StageKind.SFT, StageKind.LONG_SFT)}
TRAINING = (*PHASES["base"], *PHASES["sft"])


@dataclass(frozen=True, kw_only=True)
class Ancestor:
    """One stage. `is_recorded` is false for one whose artifact is no longer in the store: its key alone is known."""

    kind: StageKind
    name: str
    title: str
    key: str
    version: int
    identity: Mapping[str, Any]
    inputs: Mapping[str, str]  # role -> key; these make its key
    observed: Mapping[str, str]  # role -> key; read as well, but not part of the key
    is_recorded: bool
    files: tuple[FileRecord, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    numerics: Mapping[str, Any] = field(default_factory=dict)  # device, ranks, threads, torch
    packages: Mapping[str, str] = field(default_factory=dict)
    revision: str | None = None  # of the code that made it
    dirty: bool | None = None  # whether that code differed from its revision

    @property
    def short_key(self) -> str:
        """As it stands in the name of its folder."""
        return self.key[:12]

    @property
    def device(self) -> str:
        """What it ran on, as torch calls it; empty when that is not known."""
        return str(self.numerics.get("device", ""))

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of everything it read."""
        return (*self.inputs.values(), *self.observed.values())


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """`stages`, needs before needers. `deliverables` names some of their keys by the roles they are published in."""

    deliverables: Mapping[str, str]
    stages: tuple[Ancestor, ...]
    folder: Path | None = None  # of the traces

    def behind(self, roles: Iterable[str]) -> Lineage:
        """The part from which these deliverables were made, themselves included."""
        chosen = {role: key for role, key in self.deliverables.items() if role in set(roles)}
        wanted = set(chosen.values())
        for stage in reversed(self.stages):
            if stage.key in wanted:
                wanted.update(stage.needs)
        kept = tuple(stage for stage in self.stages if stage.key in wanted)
        return replace(self, deliverables=chosen, stages=kept)

    def of_kind(self, *kinds: StageKind) -> tuple[Ancestor, ...]:
        """The stages of some kinds."""
        return tuple(stage for stage in self.stages if stage.kind in kinds)

    @property
    def training(self) -> tuple[Ancestor, ...]:
        """The stages that trained, in the order of training: segments of the trunk, a recalibration, a fine-tune."""
        return self.of_kind(*TRAINING)

    def of_phase(self, phase: str) -> tuple[Ancestor, ...]:
        """The stages that trained one phase, in the order of training: all segments of a base, or a fine-tune."""
        return self.of_kind(*PHASES[phase])

    @property
    def without_rope(self) -> frozenset[str]:
        """Keys of the training stages whose model has no positions: from a recalibration on, fine-tunes included."""
        found: set[str] = set()
        for stage in self.training:
            if stage.kind is StageKind.RECALIBRATE or found.intersection(stage.needs):
                found.add(stage.key)
        return frozenset(found)

    def trace(self, stage: Ancestor, file: str) -> list[dict[str, float]]:
        """The lines of one of a training stage's `TRACES`; none when they were not kept."""
        path = None if self.folder is None else self.folder / stage.key / file
        if path is None or not path.exists():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def write(self, path: Path) -> None:
        """Write `lineage.json`; the same lineage gives the same bytes."""
        document = {"deliverables": self.deliverables, "stages": [_plain(stage) for stage in self.stages]}
        text = json.dumps(canonical(document), indent=1, sort_keys=True, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")


NO_LINEAGE = Lineage(deliverables={}, stages=())  # of artifacts whose manifests are not at hand

_LINEAGE: TypeAdapter[Lineage] = TypeAdapter(Lineage)


def read_lineage(folder: Path | None) -> Lineage:
    """Read a gathered folder; `NO_LINEAGE` for None. Raises `StageError` when it holds something else."""
    if folder is None:
        return NO_LINEAGE
    path = folder / LINEAGE
    try:
        return replace(_LINEAGE.validate_json(path.read_bytes()), folder=folder)
    except FileNotFoundError:
        raise StageError(f"{path}: not there, so nothing is known of what the model was made from") from None
    except ValidationError as error:
        raise StageError(f"{path}: is no lineage: {error.errors()[0]['msg']}") from None


def _plain(stage: Ancestor) -> dict[str, object]:
    files = [file.model_dump() for file in stage.files]
    return {name: getattr(stage, name) for name in stage.__dataclass_fields__} | {"files": files}
