"""The golden file: what every kind's golden stages gave, and at which version of the kind.

The rule: a fingerprint may change only together with a raised version, because artifacts are found by a key that holds
the version and nothing of the source text. An entry can be added or raised, never overwritten.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fingerprints import Fingerprint, differences
from fixed_hub import serving

from core.stages.kind import DEFINITIONS, StageKind

HERE = Path(__file__).parent
GOLDEN = HERE / "golden.json"
SHOWN = 6  # differences that a complaint lists
RECORD = "`python tests/golden/record.py`"


@dataclass(frozen=True)
class Entry:
    """One kind."""

    version: int
    fingerprint: Fingerprint


Entries = dict[StageKind, Entry]


class RefusedError(Exception):
    """A recording that would hide a change of meaning."""


def read(path: Path = GOLDEN) -> Entries:
    """The recorded entries; none when there is no file."""
    recorded = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {StageKind(kind): Entry(**fields) for kind, fields in recorded.items()}


def write(entries: Mapping[StageKind, Entry], path: Path = GOLDEN) -> None:
    """Write the entries in the order of the kinds."""
    ordered = {kind.value: asdict(entries[kind]) for kind in StageKind if kind in entries}
    path.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def measure(kinds: Iterable[StageKind] = StageKind) -> Entries:
    """Make the golden stages of these kinds now, in one process on one thread."""
    with TemporaryDirectory(prefix="miniseries-golden-") as folder, serving() as hub:
        target = Path(folder) / "fingerprints.json"
        support = {"PYTHONPATH": str(HERE.parent / "support")}
        environment = {**os.environ, **hub, **support, "HF_HOME": folder, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(HERE / "measure.py"), str(target), *(kind.value for kind in kinds)]
        subprocess.run(command, env=environment, check=True)
        found = json.loads(target.read_text(encoding="utf-8"))
    return {StageKind(kind): Entry(DEFINITIONS[StageKind(kind)].version, fields) for kind, fields in found.items()}


def complaint(kind: StageKind, recorded: Entry | None, measured: Entry) -> str:
    """What is wrong with `kind` and what to do about it; empty when its golden entry holds."""
    if recorded is None:
        return f"{kind} has no golden entry; {RECORD} adds it"
    if recorded.version > measured.version:
        return f"{kind} went back from version {recorded.version} to {measured.version}; versions only rise"
    if recorded.version < measured.version:
        return f"{kind} was raised from version {recorded.version} to {measured.version}; {RECORD} records it"
    changed = differences(recorded.fingerprint, measured.fingerprint)
    if not changed:
        return ""
    listed = "".join(f"\n  {change}" for change in changed[:SHOWN])
    more = f"\n  and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    return (
        f"{kind} still has version {measured.version}, but its golden output changed:{listed}{more}\n"
        f"raise the version of {kind} in core/stages/kind.py, or revert; then {RECORD} writes the new golden file"
    )


def merged(recorded: Mapping[StageKind, Entry], measured: Mapping[StageKind, Entry]) -> Entries:
    """The recorded entries with new kinds and raised versions; `RefusedError` for any other change.

    An entry that holds stays as it is, so that last bits of another processor do not stir the file.
    """
    refused = [
        complaint(kind, recorded[kind], entry)
        for kind, entry in measured.items()
        if kind in recorded and recorded[kind].version >= entry.version and complaint(kind, recorded[kind], entry)
    ]
    if refused:
        raise RefusedError("\n".join(refused))
    added = {
        kind: entry
        for kind, entry in measured.items()
        if kind not in recorded or recorded[kind].version < entry.version
    }
    return {**recorded, **added}
