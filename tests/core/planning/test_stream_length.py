"""How many shard groups a stage needs: laws of the estimate, and what it is told by a listing and by manifests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from committing import commit_files
from hypothesis import given
from hypothesis import strategies as st

from artifacts.store import Found, Store
from core.planning.catalogue import resolved_stages, stage_of_key, stages_of
from core.planning.plan import make_plan
from core.planning.stage import Stage
from core.planning.stream_length import (
    PackedRows,
    groups_of,
    measured_by,
    nothing_packed,
    packed_by_manifest,
    packed_in,
    stream_length,
)
from core.recipes.table import recipes
from core.stages.kind import StageKind
from core.stages.streamed import group_role

SHARDS = st.lists(st.integers(1, 8), min_size=1, max_size=12)
EXPECTED = st.integers(1, 100)
ROWS = st.integers(1, 3000)


@st.composite
def corpora(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Shards and rows of each group; a group holds one row at least."""
    shards = draw(SHARDS)
    return shards, [draw(st.integers(1, 50 * count)) for count in shards]


def known(rows: Sequence[int], packed: set[int]) -> Callable[[int], int | None]:
    return lambda index: rows[index] if index in packed else None


def fewest(rows: Sequence[int], needed: int) -> int:
    """By counting."""
    return next((count for count in range(1, len(rows)) if sum(rows[:count]) >= needed), len(rows))


@given(corpora(), ROWS, EXPECTED)
def test_of_a_packed_corpus_the_fewest_groups_are_needed_whatever_was_expected(
    corpus: tuple[list[int], list[int]], needed: int, expected: int
) -> None:
    shards, rows = corpus
    length = stream_length(needed, shards, known(rows, set(range(len(rows)))), expected)
    assert length.groups == length.packed == fewest(rows, needed)
    assert (length.epochs > 1) == (sum(rows) < needed)


@given(corpora(), ROWS, EXPECTED, EXPECTED)
def test_packing_what_is_needed_until_all_of_it_is_packed_ends_alike_for_every_expectation(
    corpus: tuple[list[int], list[int]], needed: int, expected: int, other: int
) -> None:
    """A run packs one more of the groups that are needed, and asks again."""
    shards, rows = corpus

    def packed_to_the_end(expectation: int) -> set[int]:
        packed: set[int] = set()
        while missing := set(range(stream_length(needed, shards, known(rows, packed), expectation).groups)) - packed:
            packed.add(min(missing))
        return set(range(stream_length(needed, shards, known(rows, packed), expectation).groups))

    assert packed_to_the_end(expected) == packed_to_the_end(other) == set(range(fewest(rows, needed)))


@given(corpora(), ROWS, ROWS, EXPECTED, st.sets(st.integers(0, 11)))
def test_a_longer_budget_only_appends(
    corpus: tuple[list[int], list[int]], needed: int, more: int, expected: int, packed: set[int]
) -> None:
    shards, rows = corpus
    short = stream_length(needed, shards, known(rows, packed), expected)
    assert short.groups <= stream_length(needed + more, shards, known(rows, packed), expected).groups


@given(corpora(), ROWS, EXPECTED, st.sets(st.integers(0, 11)))
def test_no_group_beyond_is_asked_about(
    corpus: tuple[list[int], list[int]], needed: int, expected: int, packed: set[int]
) -> None:
    shards, rows = corpus
    asked: list[int] = []

    def count(index: int) -> int | None:
        asked.append(index)
        return rows[index] if index in packed else None

    assert asked == list(range(stream_length(needed, shards, count, expected).groups))


def test_groups_that_are_not_packed_count_as_many_rows_a_shard_as_those_before_them() -> None:
    length = stream_length(100, [2, 2, 1, 2, 2], {0: 40, 1: 20}.get, expected_rows_per_shard=1)
    assert (length.groups, length.packed, length.held) == (4, 2, 40 + 20 + 15 + 30)


def training(tag: str) -> list[Stage]:
    return [stage for stage in stages_of(tag).values() if stage.stream is not None]


def groups(stage: Stage) -> list[str]:
    return [group.name for group in groups_of(stage)]


def rows_each(rows: int) -> PackedRows:
    return lambda _group: rows


def listed(stage: Stage, rows: int) -> dict[str, Found]:
    """A listing that shows the packed group `stage`."""
    identity = stage.identity
    size = rows * getattr(identity, "row_tokens", 0) * 2
    return {stage.address.folder: Found(committed=True, bytes=size + 700, files={"rows.bin": size, "rows.json": 700})}


def test_a_stream_of_more_than_a_thousand_groups_keeps_its_order() -> None:
    stages = list(stages_of("tiny").values())
    groups = {group_role(index): stages[index % len(stages)] for index in range(1002)}
    many = replace(stages[0], inputs={}, observed=dict(sorted(groups.items())))
    assert groups_of(many) == list(groups.values())


def test_measured_groups_change_what_a_stage_needs_and_not_its_key() -> None:
    last = training("d20_40tpp")[-1]
    for rows in (1000, 66_000, 90_000):
        measured = measured_by(rows_each(rows))(last)
        assert measured.key == last.key
        assert len(groups(measured)) == min(818, -(-last.stream.rows // rows))  # type: ignore[union-attr]
        assert measured.inputs == last.inputs
        assert groups(measured_by(rows_each(rows))(measured)) == groups(measured)
    assert measured_by(nothing_packed)(last) is last


def test_a_tag_is_planned_with_the_groups_that_a_listing_shows_to_suffice() -> None:
    """Those that the recipe expects besides are left out; a key that nobody expected is found all the same."""
    tag = "d18_9tpp"
    last = training(tag)[-1]
    first = last.inputs["group-000"]
    fewer = make_plan([tag], listed(first, 100_000), lambda _stage: None)
    more = make_plan([tag], listed(first, 20_000), lambda _stage: None)

    def packed(plan: object) -> list[str]:
        kinds = [one.stage for one in plan.stages if one.stage.kind is StageKind.PACK]  # type: ignore[attr-defined]
        return [stage.key for stage in kinds if not stage.name.startswith("climbmix-06542")]

    assert (len(packed(fewer)), len(groups(last)), len(packed(more))) == (8, 11, 36)
    assert packed(more)[: len(packed(fewer))] == packed(fewer)
    assert packed(more)[-1] not in stages_of(tag)
    assert stage_of_key(tag, packed(more)[-1]).key == packed(more)[-1]
    assert fewer.total == more.total
    by_key = {one.stage.key: one.length for one in more.stages}
    assert (by_key[last.key].groups, by_key[last.key].packed) == (36, 1)  # type: ignore[union-attr]


def test_a_damaged_group_counts_as_not_packed() -> None:
    first = training("tiny")[0].inputs["group-000"]
    ((folder, found),) = listed(first, 7).items()
    assert packed_in({folder: found})(first) == 7
    assert packed_in({folder: Found(committed=True, damaged=True, files=found.files)})(first) is None
    assert packed_in({})(first) is None


def test_a_listing_and_the_manifests_tell_the_same_rows(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"), tmp_path / "cache")
    group = training("tiny")[0].inputs["group-000"]
    assert packed_by_manifest(store)(group) is None
    commit_files(store, group, {"rows.bin": bytes(5 * 257 * 2), "rows.json": b"{}"}, rows=5)
    assert packed_by_manifest(store)(group) == packed_in(store.survey())(group) == 5


def test_a_packed_mixture_tells_its_training_rows(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"), tmp_path / "cache")
    mixture = next(stage for stage in stages_of("tiny").values() if stage.kind is StageKind.MIXTURE)
    files = {"train.rows.bin": bytes(5 * 257 * 2), "train.mask.bin": bytes(5 * 257), "validation.rows.bin": bytes(514)}
    commit_files(store, mixture, files, rows=5)
    assert packed_by_manifest(store)(mixture) == packed_in(store.survey())(mixture) == 5


def test_without_a_measurement_every_tag_has_the_stages_that_its_recipe_expects() -> None:
    for tag in recipes():
        assert list(resolved_stages(tag, measured_by(nothing_packed))) == list(stages_of(tag))
