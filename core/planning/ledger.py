"""What the models of a tag have read, from the manifests in a store: files, rows, and how many times.

Guarantees: what exists is counted exactly, from manifests and, for a group that was read in part, from the index of its
documents; a group that is not packed yet is said to be planned, and its rows are an estimate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import TypeAdapter

from artifacts.manifest import Manifest
from artifacts.store import Store
from artifacts.transfer import at_once
from core.data.ledger import DocumentRun, FileReading, document_runs, file_readings, group_readings, shards_of
from core.data.packed_documents import PackedDocuments, ShardAccount, documents_file
from core.planning.catalogue import stages_of
from core.planning.pretraining import base_stage, stream
from core.planning.stage import Stage
from core.recipes.recipe import Recipe, RecipeError
from core.recipes.table import find_recipe
from core.stages.identity import FinetuneIdentity, PackIdentity, TrainingIdentity
from core.stages.kind import StageKind

ACCOUNTS: TypeAdapter[tuple[ShardAccount, ...]] = TypeAdapter(tuple[ShardAccount, ...])


@dataclass(frozen=True, kw_only=True)
class StreamGroup:
    """One shard group of the stream. Without a manifest it is not packed yet, and `rows` is an estimate."""

    stage: Stage
    rows: int
    pack: Manifest | None
    corpus: Manifest | None  # None: not collected, or its artifact is gone

    @property
    def shards(self) -> tuple[int, int]:
        """Numbers [first, end) of its shards."""
        assert isinstance(self.stage.identity, PackIdentity)
        return self.stage.identity.first_shard, self.stage.identity.end_shard

    @cached_property
    def accounts(self) -> tuple[ShardAccount, ...]:
        """What became of each of its shards; none when it is not packed."""
        return ACCOUNTS.validate_python(self.pack.metrics["shards"]) if self.pack else ()

    def documents(self, store: Store) -> PackedDocuments:
        """The index of its documents, read from the store."""
        assert self.pack is not None
        return PackedDocuments.decode(store.read_file(self.pack, documents_file("rows")))


@dataclass(frozen=True, kw_only=True)
class GroupSeen:
    """How much of a group the steps so far have read, and how much the whole horizon reads."""

    group: StreamGroup
    so_far: Sequence[FileReading]
    at_end: Sequence[FileReading]
    rows_so_far: int  # each as often as it was read
    rows_at_end: int


@dataclass(frozen=True, kw_only=True)
class FinetuneSeen:
    """One fine-tune: it reads its mixture once. `tasks` as the mixture's manifest counts them."""

    stage: Stage
    is_trained: bool
    mixture: Manifest | None

    @property
    def tasks(self) -> Mapping[str, Mapping[str, Any]]:
        """Counts by task; none when the mixture is not made yet."""
        return self.mixture.metrics["tasks"] if self.mixture else {}


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """Everything that the models of one tag have read, or will."""

    recipe: Recipe
    steps_trained: int
    groups: tuple[GroupSeen, ...]
    finetunes: tuple[FinetuneSeen, ...]

    @property
    def is_exact(self) -> bool:
        """Whether every group is packed, so that nothing is an estimate."""
        return all(seen.group.pack for seen in self.groups)

    @property
    def epochs(self) -> float:
        """Times that the whole horizon reads the stream."""
        rows = sum(seen.group.rows for seen in self.groups)
        return sum(seen.rows_at_end for seen in self.groups) / rows if rows else 0.0


def read_ledger(tag: str, store: Store) -> Ledger:
    """The ledger of `tag` as `store` stands. Raises `RecipeError` for an unknown tag, `StoreError`."""
    recipe = find_recipe(tag)
    rows_a_step = recipe.pretraining.batch_tokens // recipe.architecture.sequence_length
    trained = _steps_trained(base_stage(recipe), store)
    groups = _needed_groups(recipe, store)
    return Ledger(
        recipe=recipe,
        steps_trained=trained,
        groups=_seen(groups, store, trained * rows_a_step, recipe.pretraining.steps * rows_a_step),
        finetunes=_finetunes(tag, store),
    )


def rows_of_file(ledger: Ledger, file: str, store: Store) -> list[DocumentRun]:
    """How often each row of `file` was read by the steps so far; raises `RecipeError` for one that is not packed."""
    seen = next((one for one in ledger.groups for part in one.group.accounts if part.file == file), None)
    if seen is None:
        known = [account.file for one in ledger.groups for account in one.group.accounts]
        named = f"; its packed files are {known[0]} to {known[-1]}" if known else ""
        raise RecipeError(f"no packed file of {ledger.recipe.tag} is called {file!r}{named}")
    rows = [one.group.rows for one in ledger.groups]
    read = sum(one.rows_so_far for one in ledger.groups)
    reading = group_readings(rows, read)[ledger.groups.index(seen)]
    accounts = seen.group.accounts
    place = [account.file for account in accounts].index(file)
    skipped = sum(account.documents for account in accounts[:place])
    return document_runs(seen.group.documents(store), reading, skipped, accounts[place].documents)


def _steps_trained(base: Stage, store: Store) -> int:
    """The last step of the longest prefix of training that exists."""
    stage: Stage | None = base
    while stage is not None:
        if store.manifest(stage.address) is not None:
            assert isinstance(stage.identity, TrainingIdentity)
            return stage.identity.end_step
        stage = stage.inputs.get("previous")
    return 0


def _needed_groups(recipe: Recipe, store: Store) -> list[StreamGroup]:
    """The groups that hold the rows which the horizon reads, from the first; all of them when it wraps around."""
    rows = stream(recipe, recipe.pretraining.steps)
    manifests = _manifests(rows.groups().values(), store)

    def pack_of(group: Stage) -> Manifest | None:
        if group.key not in manifests:  # more groups are needed than were expected
            manifests[group.key] = store.manifest(group.address)
        return manifests[group.key]

    def packed_rows(group: Stage) -> int | None:
        pack = pack_of(group)
        return None if pack is None else int(pack.metrics["rows"])

    stages = list(rows.groups(packed_rows).values())
    corpora = _manifests((stage.inputs["corpus"] for stage in stages), store)
    groups: list[StreamGroup] = []
    for stage in stages:
        found = packed_rows(stage)
        groups.append(
            StreamGroup(
                stage=stage,
                rows=_expected_rows(recipe, stage, groups) if found is None else found,
                pack=pack_of(stage),
                corpus=corpora[stage.inputs["corpus"].key],
            )
        )
    return groups


def _manifests(stages: Iterable[Stage], store: Store) -> dict[str, Manifest | None]:
    """The manifests of some stages by key, several read at a time."""
    distinct = {stage.key: stage for stage in stages}
    found = at_once(lambda stage: store.manifest(stage.address), list(distinct.values()))
    return dict(zip(distinct, found, strict=True))


def _expected_rows(recipe: Recipe, group: Stage, before: Sequence[StreamGroup]) -> int:
    """Rows of a group that is not packed, as `core.planning.stream_length` expects them."""
    packed = [one for one in before if one.pack]
    if packed:
        shards = sum(end - first for first, end in (one.shards for one in packed))
        return sum(one.rows for one in packed) * _shard_count(group) // shards
    return recipe.corpus.tokens_per_shard // recipe.architecture.sequence_length * _shard_count(group)


def _shard_count(group: Stage) -> int:
    assert isinstance(group.identity, PackIdentity)
    return group.identity.end_shard - group.identity.first_shard


def _seen(groups: Sequence[StreamGroup], store: Store, rows_so_far: int, rows_at_end: int) -> tuple[GroupSeen, ...]:
    rows = [group.rows for group in groups]
    seen = []
    for group, now, then in zip(
        groups, group_readings(rows, rows_so_far), group_readings(rows, rows_at_end), strict=True
    ):
        parts: dict[int, tuple[ShardAccount, ...]] = {}
        if group.pack and (further := {now.further, then.further} - {0}):
            index, shards = group.documents(store), shards_of(group.accounts)
            parts = {count: index.within(0, count).accounts(shards) for count in further}
        seen.append(
            GroupSeen(
                group=group,
                so_far=file_readings(now, group.accounts, parts.get(now.further)),
                at_end=file_readings(then, group.accounts, parts.get(then.further)),
                rows_so_far=now.whole * group.rows + now.further,
                rows_at_end=then.whole * group.rows + then.further,
            )
        )
    return tuple(seen)


def _finetunes(tag: str, store: Store) -> tuple[FinetuneSeen, ...]:
    stages = [stage for stage in stages_of(tag).values() if stage.kind in (StageKind.SFT, StageKind.LONG_SFT)]
    assert all(isinstance(stage.identity, FinetuneIdentity) for stage in stages)
    return tuple(
        FinetuneSeen(
            stage=stage,
            is_trained=store.manifest(stage.address) is not None,
            mixture=store.manifest(stage.inputs["mixture"].address),
        )
        for stage in stages
    )
