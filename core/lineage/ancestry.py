"""Gathers, from a store, what a stage was made from: the manifests of its ancestors, and the traces of their training.

Reads no artifact but those small files. What is gathered depends on the store's manifests alone, without their times
and hosts, and is no input of the stage: it cannot reach a key.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from artifacts.encoding import canonical
from artifacts.manifest import Manifest
from artifacts.store import Store
from artifacts.transfer import at_once
from core.lineage.lineage import LINEAGE, TRACES, TRAINING, Ancestor, Lineage
from core.planning.stage import Stage, in_order
from core.planning.stream_length import measured_by, packed_by_manifest
from core.planning.title import title


@contextmanager
def gathered_lineage(stage: Stage, store: Store) -> Iterator[Path]:
    """A folder with the lineage of what `stage` needs, while the block runs. Raises `StoreError`."""
    with tempfile.TemporaryDirectory(prefix="miniseries-lineage-") as folder:
        gather(stage, store, Path(folder))
        yield Path(folder)


def gather(stage: Stage, store: Store, folder: Path) -> None:
    """Write `lineage.json`, and the traces of every training stage in a folder named by its key."""
    stages = in_order(stage.inputs.values(), measured_by(cache(packed_by_manifest(store))))
    manifests = at_once(lambda one: store.manifest(one.address), stages)
    pairs = list(zip(stages, manifests, strict=True))
    deliverables = {role: made.key for role, made in stage.inputs.items()}
    lineage = Lineage(deliverables=deliverables, stages=tuple(_ancestor(*pair) for pair in pairs))
    lineage.write(folder / LINEAGE)
    at_once(
        lambda manifest: _write_traces(manifest, store, folder / manifest.key),
        [manifest for made, manifest in pairs if manifest is not None and made.kind in TRAINING],
    )


def _ancestor(stage: Stage, manifest: Manifest | None) -> Ancestor:
    identity = canonical(stage.identity)
    assert isinstance(identity, dict)
    provenance: Mapping[str, Any] = manifest.provenance if manifest else {}
    return Ancestor(
        kind=stage.kind,
        name=stage.name,
        title=title(stage),
        key=stage.key,
        version=stage.definition.version,
        identity=identity,
        inputs={role: need.key for role, need in stage.inputs.items()},
        observed={role: need.key for role, need in stage.observed.items()},
        is_recorded=manifest is not None,
        files=manifest.files if manifest else (),
        metrics=manifest.metrics if manifest else {},
        numerics=provenance.get("numerics", {}),
        packages=provenance.get("packages", {}),
        revision=provenance.get("revision"),
        dirty=provenance.get("dirty"),
    )


def _write_traces(manifest: Manifest, store: Store, folder: Path) -> None:
    folder.mkdir()
    for name in {file.path for file in manifest.files} & set(TRACES):
        (folder / name).write_bytes(store.read_file(manifest, name))
