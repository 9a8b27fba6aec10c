"""Adopted models in the store: making one from a folder, and finding those that are there by name or key.

An adopted artifact is a leaf that no recipe reaches. Its key is made of its files' sha256, so the same checkpoint is
adopted once, whatever folder it lies in; `provenance` says which one it was.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from artifacts.address import NAME, Address
from artifacts.encoding import canonical
from artifacts.errors import AlreadyCommitted, StoreError
from artifacts.lease import HeldLease
from artifacts.manifest import Manifest
from artifacts.provenance import capture
from artifacts.store import Attempt, Store
from core.adoption.checkpoint import find_checkpoint
from core.planning.stage import Stage
from core.stages.context import StageContext, StageError
from core.stages.identity import AdoptedIdentity, ExportIdentity
from core.stages.kind import StageKind
from core.stages.report import Reporter
from core.stages.runtime import Runtime

LEASE_SECONDS = 120.0
PHASES = {"base_checkpoints": "base", "chatsft_checkpoints": "sft"}  # nanochat's folders

_IDENTITY: TypeAdapter[AdoptedIdentity] = TypeAdapter(AdoptedIdentity)


@dataclass(frozen=True, kw_only=True)
class Adoption:
    """What its user says of a checkpoint. None: its files, or the folder they lie in, say it."""

    folder: Path
    tokenizer: Path | None = None
    phase: str | None = None  # base or sft
    name: str | None = None
    use_rope: bool | None = None


def adopted_stage(adoption: Adoption) -> Stage:
    """The stage that adopts a checkpoint; hashes its files. Raises `StageError` for what is missing."""
    folder = adoption.folder.absolute()
    files = find_checkpoint(folder, adoption.tokenizer or folder)
    phase = adoption.phase or files.read_meta().get("phase") or PHASES.get(folder.parent.name)
    if phase not in ("base", "sft"):
        raise StageError(f"{folder}: neither its files nor its name say which phase it is of; say --phase base or sft")
    name = adoption.name or re.sub(r"[^A-Za-z0-9._+=-]+", "-", folder.name).strip("-.")
    if not NAME.fullmatch(name):
        raise StageError(f"{name!r} cannot be the name of a model; name one with --tag: letters, digits, . _ + = -")
    identity = AdoptedIdentity(files=files.describe(), phase=phase, use_rope=adoption.use_rope)
    return Stage(StageKind.ADOPTED, name, identity)


def adopt(adoption: Adoption, store: Store) -> tuple[Stage, Manifest]:
    """Bring the checkpoint into the store, unless it is there.

    Raises `StageError` for a checkpoint that cannot be adopted, `StoreError` when the store refuses or another process
    is adopting the same one.
    """
    stage = adopted_stage(adoption)
    store.check_writable()
    if (manifest := store.whole_manifest(stage.address)) is not None:
        return stage, manifest
    lease = store.leases.acquire(stage.address, purpose=f"adopt {stage.name}", ttl=LEASE_SECONDS)
    if not isinstance(lease, HeldLease):
        raise StoreError(f"{stage.address} is being adopted by {lease.description}; run again when it is done")
    try:
        with lease.kept_alive():
            return stage, _made(stage, adoption, store, lease)
    finally:
        lease.release()


def find_adopted(store: Store, wanted: str) -> Stage | None:
    """The adopted model with this name or beginning of a key; None when there is none. Raises `StoreError` for many."""
    addresses = (Address.parse(folder) for folder, found in store.survey().items() if found.committed)
    adopted = [address for address in addresses if address is not None and address.kind == StageKind.ADOPTED.value]
    found = [one for one in adopted if wanted == one.name or (len(wanted) >= 4 and _is_of_key(one, wanted))]
    if len(found) > 1:
        keys = ", ".join(address.key for address in found)
        raise StoreError(f"{wanted} names {len(found)} adopted models; name one by its key: {keys}")
    manifests = (store.manifest(address) for address in found)
    return next((_stage(manifest) for manifest in manifests if manifest is not None), None)


def export_of(adopted: Stage, kind: StageKind, format_version: int) -> Stage:
    """The stage that exports an adopted model."""
    identity = ExportIdentity(format_version=format_version, phase=phase_of(adopted))
    return Stage(kind, adopted.name, identity, {"model": adopted, "tokenizer": adopted})


def phase_of(adopted: Stage) -> str:
    """base or sft."""
    assert isinstance(adopted.identity, AdoptedIdentity)
    return adopted.identity.phase


def require_phase(adopted: Stage, phase: str | None) -> None:
    """Raise `StageError` when a model of another phase was asked for."""
    if phase not in (None, phase_of(adopted)):
        raise StageError(f"{adopted.name} was adopted as a model of phase {phase_of(adopted)}; leave out --phase")


def _is_of_key(address: Address, wanted: str) -> bool:
    """`address` has the key cut to 12 characters."""
    return address.key.startswith(wanted) or wanted.startswith(address.key)


def _stage(manifest: Manifest) -> Stage:
    return Stage(StageKind.ADOPTED, manifest.name, _IDENTITY.validate_python(manifest.identity))


def _made(stage: Stage, adoption: Adoption, store: Store, lease: HeldLease) -> Manifest:
    from core.adoption.adopt import produce  # here: it imports torch, which finding a model need not

    identity = stage.identity
    assert isinstance(identity, AdoptedIdentity)
    store.discard(stage.address, lease)
    tokenizer, began = adoption.tokenizer or adoption.folder, time.time()
    with store.attempt(stage.address, lease) as attempt:
        context: StageContext[AdoptedIdentity] = StageContext(
            name=stage.name,
            key=stage.key,
            identity=identity,
            inputs={"checkpoint": adoption.folder, "tokenizer": tokenizer},
            output=attempt.output,
            scratch=attempt.scratch,
            checkpoints=store.progress(stage.address, lease.token),
            report=Reporter(),
            runtime=Runtime(),
        )
        metrics = produce(context)
        if find_checkpoint(adoption.folder, tokenizer).describe() != identity.files:
            raise StageError(f"{adoption.folder}: changed while it was adopted; adopt it again")
        provenance = {**capture(), "started": began, "finished": time.time(), "from": str(adoption.folder.absolute())}
        return _committed(store, stage, attempt, metrics, provenance)


def _committed(
    store: Store, stage: Stage, attempt: Attempt, metrics: Mapping[str, object], provenance: Mapping[str, object]
) -> Manifest:
    """Commit; when another process was first all the same, its artifact serves."""
    version, identity = stage.definition.version, canonical(stage.identity)
    try:
        return attempt.commit(
            stage_version=version, identity=identity, inputs={}, metrics=metrics, provenance=provenance
        )
    except AlreadyCommitted:
        manifest = store.whole_manifest(stage.address)
        if manifest is None:
            raise
        return manifest
