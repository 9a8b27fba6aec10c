"""What a supervisor tells a stage process, and what the process tells back: two small JSON files.

The specification carries everything needed to make one artifact on a machine that has torch and this
package but no Prefect. The outcome says how it ended; an exit code alone cannot, because torchrun
turns every ending but success into 1.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from artifacts.address import Address
from artifacts.encoding import canonical
from core.stages.identity import IDENTITY_TYPES, Identity
from core.stages.kind import StageKind
from core.stages.runtime import Runtime
from core.stages.streamed import StreamedArtifact

Status = Literal["finished", "interrupted", "failed"]  # interrupted: by something that may pass, so worth another try


@dataclass(frozen=True, kw_only=True)
class Specification:
    """One attempt at one stage."""

    kind: StageKind
    name: str
    key: str
    identity: Mapping[str, object]  # canonical JSON of the kind's identity
    inputs: Mapping[str, str]  # role -> folder of verified files
    output: str
    scratch: str
    store: str  # URL; checkpoints go to the stage's progress area there
    token: int  # fencing token of the lease under which this attempt runs
    runtime: Runtime
    streamed: Mapping[str, StreamedArtifact] = field(default_factory=dict)  # role -> what the stage fetches itself

    @property
    def address(self) -> Address:
        """The artifact's place in the store."""
        return Address(self.kind.value, self.name, self.key)

    def typed_identity(self) -> Identity:
        """The identity as the kind's own dataclass; raises when a field is missing, unknown or of another type."""
        adapter: TypeAdapter[Identity] = TypeAdapter(IDENTITY_TYPES[self.kind])
        return adapter.validate_python(dict(self.identity))

    def write(self, path: Path) -> None:
        """Write the specification as JSON."""
        path.write_text(json.dumps(canonical(self), indent=1, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Specification:
        """Read what `write` wrote."""
        return TypeAdapter(cls).validate_json(path.read_bytes())


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one process of a stage ended."""

    status: Status
    rank: int
    metrics: Mapping[str, object] = field(default_factory=dict)
    numerics: Mapping[str, object] = field(default_factory=dict)  # the numerics domain: device, torch, threads, ranks
    error: str = ""  # one line
    at: float = field(default_factory=time.time)  # seconds since the epoch: the first failure is the cause

    def write(self, folder: Path) -> None:
        """Write `outcome-<rank>.json`, whole or not at all."""
        part = folder / f".outcome-{self.rank}.part"
        part.write_text(json.dumps(canonical(self)), encoding="utf-8")
        part.rename(folder / f"outcome-{self.rank}.json")


def read_outcomes(folder: Path) -> list[Outcome]:
    """The outcomes of all processes that wrote one, earliest first."""
    adapter = TypeAdapter(Outcome)
    found = [adapter.validate_json(path.read_bytes()) for path in sorted(folder.glob("outcome-*.json"))]
    return sorted(found, key=lambda outcome: outcome.at)
