"""How many shard groups a training stage reads: as few as hold its rows, by the rows of the groups packed so far.

What a stream is follows from its first group: the groups after it have as many shards each, up to the corpus's end,
packed the same way; then the next epoch begins. How many of them a stage needs is a consequence that no key knows.
A group that is packed counts with the rows it has; one that is not, as many a shard as the packed ones before it, and
before any is packed what the recipe expects. So the answer is an estimate until the groups it names are packed, and
from then on the same for everybody, whatever was expected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

from artifacts.store import Found, Store
from core.planning.progress import Survey
from core.planning.stage import Resolve, Stage
from core.recipes.recipe import Corpus
from core.stages.identity import MixtureIdentity, PackIdentity, TokenizerIdentity
from core.stages.kind import StageKind
from core.stages.streamed import GROUP, group_role, group_roles

ROWS_FILES = {StageKind.PACK: "rows.bin", StageKind.MIXTURE: "train.rows.bin"}
LARGEST_OF_TWO_BYTES = 65_536  # vocabulary whose ids fit in 16 bits

PackedRows = Callable[[Stage], int | None]  # the rows of a group or a mixture; None: it is not packed


@dataclass(frozen=True, kw_only=True)
class StreamLength:
    """How far a stream has to go for a stage that reads `rows` rows."""

    rows: int
    groups: int  # that are needed
    packed: int  # of these
    held: int  # rows in them, estimated where they are not packed

    @property
    def epochs(self) -> float:
        """How often the stage's end has come round to row 0: above 1, rows are read again."""
        return self.rows / self.held if self.held < self.rows else 1.0


def stream_length(
    rows: int, shards: Sequence[int], packed: Callable[[int], int | None], expected_rows_per_shard: int
) -> StreamLength:
    """The fewest of the first groups that hold `rows`, all of them when the stream wraps around; one at least.

    `shards` has how many each group is made of, `packed` the rows of those that are packed. Asks of no further group.
    """
    groups = held = measured = measured_rows = measured_shards = 0
    while groups == 0 or (held < rows and groups < len(shards)):
        count = packed(groups)
        if count is not None:
            measured += 1
            measured_rows += count
            measured_shards += shards[groups]
        elif measured:
            count = measured_rows * shards[groups] // measured_shards
        else:
            count = expected_rows_per_shard * shards[groups]
        held += count
        groups += 1
    return StreamLength(rows=rows, groups=groups, packed=measured, held=held)


def nothing_packed(_group: Stage) -> int | None:
    """The rows of groups and mixtures of which nothing is known."""
    return None


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedStream:
    """The packed rows of a corpus in the order in which they are trained on, as far as one stage reads them."""

    corpus: Corpus
    row_length: int  # T
    rows: int  # that have been read when the stage ends
    group: Callable[[int], Stage]  # the pack stage of a group

    def length(self, packed: PackedRows = nothing_packed) -> StreamLength:
        """How many groups hold the rows, by those that are packed."""
        expected = self.corpus.tokens_per_shard // self.row_length
        return stream_length(self.rows, self._shards, lambda index: packed(self.group(index)), expected)

    def groups(self, packed: PackedRows = nothing_packed) -> dict[str, Stage]:
        """Those groups, by role."""
        return {group_role(index): self.group(index) for index in range(self.length(packed).groups)}

    @cached_property
    def _shards(self) -> tuple[int, ...]:
        """Of each group, to the corpus's end."""
        return tuple(end - first for first, end in map(self.corpus.group, range(self.corpus.groups)))


def groups_of(stage: Stage) -> list[Stage]:
    """The shard groups among what `stage` needs, in the order of the stream."""
    needs = stage.needs
    return [needs[role] for role in group_roles(needs)]


def measured_by(packed: PackedRows) -> Resolve:
    """Gives each stage that reads a stream as many of its groups as hold its rows; its key stays as it is."""

    @cache
    def resolve(stage: Stage) -> Stage:
        if stage.stream is None:
            return stage
        others = {role: need for role, need in stage.observed.items() if not role.startswith(GROUP)}
        further = {role: group for role, group in stage.stream.groups(packed).items() if role not in stage.inputs}
        observed = {**others, **further}
        return stage if observed.keys() == stage.observed.keys() else replace(stage, observed=observed)

    return resolve


def packed_in(survey: Survey) -> PackedRows:
    """The rows of the groups and mixtures in a listing: by the size of their files, so that no manifest is read."""

    def rows(packed: Stage) -> int | None:
        found = survey.get(packed.address.folder, Found())
        size = None if found.damaged else found.files.get(ROWS_FILES[packed.kind])
        return None if size is None else size // _row_bytes(packed)

    return rows


def packed_by_manifest(store: Store) -> PackedRows:
    """The rows of the groups and mixtures that are committed, by their manifests. Raises `StoreError`."""

    def rows(packed: Stage) -> int | None:
        manifest = store.manifest(packed.address)
        return None if manifest is None else int(manifest.metrics["rows"])

    return rows


def _row_bytes(packed: Stage) -> int:
    identity, tokenizer = packed.identity, packed.inputs["tokenizer"].identity
    assert isinstance(identity, PackIdentity | MixtureIdentity)
    assert isinstance(tokenizer, TokenizerIdentity)
    return identity.row_tokens * id_bytes(tokenizer.vocabulary_size)


def id_bytes(vocabulary_size: int) -> int:
    """Bytes of a token id in a packed row."""
    return 2 if vocabulary_size <= LARGEST_OF_TWO_BYTES else 4
