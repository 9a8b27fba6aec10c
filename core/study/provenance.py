"""Where the numbers of a study come from: keys, versions, devices, and the commands that make them again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.lineage.lineage import Lineage
from core.stages.context import StageContext
from core.stages.identity import StudyIdentity
from core.stages.kind import DEFINITIONS, StageKind

TOLD_PACKAGES = ("torch", "numpy", "tokenizers", "miniseries")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Of the study and of all that it was made from."""

    key: str
    version: int  # of the stage kind
    seed: int
    resamples: int
    inputs: Mapping[str, str]  # role -> key
    revisions: tuple[str, ...]  # of the code that made what it was made from
    packages: Mapping[str, str]  # with every version that was used
    devices: tuple[str, ...]
    commands: tuple[str, ...]


def provenance_of(context: StageContext[StudyIdentity], lineage: Lineage) -> Provenance:
    """As the lineage tells it; commands work in a checkout of the revision."""
    identity, stages = context.identity, lineage.stages
    versions = {
        name: sorted({stage.packages[name] for stage in stages if name in stage.packages}) for name in TOLD_PACKAGES
    }
    revisions = {f"{stage.revision}{' (with changes)' if stage.dirty else ''}" for stage in stages if stage.revision}
    tags = " ".join(identity.tags)
    return Provenance(
        key=context.key,
        version=DEFINITIONS[StageKind.STUDY].version,
        seed=identity.seed,
        resamples=identity.resamples,
        inputs=dict(sorted(lineage.deliverables.items())),
        revisions=tuple(sorted(revisions)),
        packages={name: ", ".join(found) for name, found in versions.items() if found},
        devices=tuple(sorted({stage.device for stage in stages if stage.device})),
        commands=(f"miniseries plan {tags}", f"miniseries study {tags} --to DIR"),
    )
