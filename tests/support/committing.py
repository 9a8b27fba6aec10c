"""Committing stages without making them: real manifests in a real store, for tests of what is read from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from artifacts.encoding import canonical
from artifacts.lease import HeldLease
from artifacts.manifest import Manifest
from artifacts.store import Store
from core.planning.stage import Stage

CLOCK = iter(range(1, 1_000_000))  # each commit is later than the ones before it


def commit(store: Store, stage: Stage, **metrics: Any) -> Manifest:
    """Commit `stage` with one small file, the way the pipeline does."""
    return commit_files(store, stage, {"file": b"content"}, **metrics)


def commit_files(
    store: Store,
    stage: Stage,
    files: Mapping[str, bytes],
    provenance: Mapping[str, object] | None = None,
    **metrics: Any,
) -> Manifest:
    """Commit `stage` with these files."""
    lease = store.leases.acquire(stage.address, purpose="test", ttl=60)
    assert isinstance(lease, HeldLease)
    now = float(next(CLOCK))
    with store.attempt(stage.address, lease) as attempt:
        for path, content in files.items():
            (attempt.output / path).write_bytes(content)
        manifest = attempt.commit(
            stage_version=stage.definition.version,
            identity=canonical(stage.identity),
            inputs={role: need.key for role, need in stage.inputs.items()},
            metrics=metrics,
            provenance={"started": now, "finished": now, **(provenance or {})},
        )
    lease.release()
    return manifest


def commit_all(store: Store, stages: Iterable[Stage], hours: float = 0.0) -> None:
    """Commit `stages`, each of which says that it took `hours` GPU-hours."""
    for stage in stages:
        commit(store, stage, device_seconds=hours * 3600)
