"""Which inputs of a stage are streamed: the packed groups of one that reads a stream, from a store that is remote."""

from __future__ import annotations

from collections.abc import Mapping

from artifacts.errors import ArtifactMissing, StoreError
from artifacts.store import Store
from core.planning.stage import Stage
from core.stages.identity import DecontaminateIdentity, PackIdentity, TrainingIdentity
from core.stages.streamed import StreamedArtifact, group_roles


def streamed_artifacts(stage: Stage, store: Store) -> Mapping[str, StreamedArtifact]:
    """The groups that the stage fetches itself, by role; none of a local store, whose files are read in place.

    Raises `StoreError` when a group is not there, or when they end before the stage does.
    """
    groups = {role: stage.needs[role] for role in group_roles(stage.needs)}
    if not groups or not isinstance(stage.identity, TrainingIdentity | DecontaminateIdentity):
        return {}
    found = {role: _artifact(group, store) for role, group in groups.items()}
    _require_enough(stage, stage.identity, groups, sum(artifact.rows for artifact in found.values()))
    return {} if store.is_local else found


def _artifact(group: Stage, store: Store) -> StreamedArtifact:
    manifest = store.manifest(group.address)
    if manifest is None:
        raise ArtifactMissing(f"artifact {group.address} is not in store {store.url}; `miniseries run` makes it")
    return StreamedArtifact(address=group.address, rows=int(manifest.metrics["rows"]))


def _require_enough(
    stage: Stage, identity: TrainingIdentity | DecontaminateIdentity, groups: Mapping[str, Stage], rows: int
) -> None:
    """Groups that do not reach the end of the stream must hold every row: reading on would begin an epoch too early."""
    if isinstance(identity, TrainingIdentity):
        needed = identity.end_step * identity.batch_tokens // identity.architecture.sequence_length
        reader = f"step {identity.end_step}"
    else:
        needed, reader = identity.rows, "its search"
    last = list(groups.values())[-1].identity
    assert isinstance(last, PackIdentity)
    if rows < needed and last.end_shard < identity.stream_shards:
        raise StoreError(
            f"{stage.address}: its {len(groups)} packed groups hold {rows:,} rows, but {reader} needs "
            f"{needed:,}; `miniseries run` packs the groups that follow"
        )
