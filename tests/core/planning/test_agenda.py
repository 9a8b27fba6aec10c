"""A run whose shard groups turn out longer or shorter than expected: what is made, in which order, what is left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.store import Found
from core.planning.agenda import Agenda
from core.planning.catalogue import stages_of
from core.planning.order import Lane, Order
from core.planning.plan import make_plan
from core.planning.stage import Stage
from core.planning.stream_length import groups_of
from core.recipes.table import find_recipe, recipes
from core.stages.kind import StageKind

TAG = "d18_9tpp_drope_50"
EXPECTED_GROUPS = 11  # 2,784 steps of 256 rows, by 34M tokens a shard
NEEDED_ROWS = 2784 * 256
HELD_OUT = "climbmix-06542-"


def is_group(stage: Stage) -> bool:
    return stage.kind is StageKind.PACK and not stage.name.startswith(HELD_OUT)


@dataclass
class Run:
    """Goes through the stages of a tag as a run does, as many at once as the lanes have room for.

    `rows` has how many a group turns out to hold, by its place in the stream; `failing` are names of stages.
    """

    rows: Callable[[int], int]
    packers: int = 1
    tag: str = TAG
    failing: frozenset[str] = frozenset()
    survey: dict[str, Found] = field(default_factory=dict)
    started: list[Stage] = field(default_factory=list)

    def go(self) -> Order:
        agenda = Agenda(make_plan([self.tag], self.survey, lambda _stage: None))
        ahead = self.packers + 1
        order = Order(agenda.works(ahead), {Lane.GPU: 1, Lane.HOST: 2, Lane.PACK: self.packers})
        running: list[str] = []
        while not order.is_over:
            while (work := order.next(lambda _work: False)) is not None:
                order.start(work.key)
                running.append(work.key)
                self.started.append(agenda.stages[work.key])
            key = running.pop(0)
            stage = agenda.stages[key]
            if stage.name in self.failing:
                order.fail(key)
                continue
            order.finish(key)
            if stage.kind is StageKind.PACK and agenda.note_rows(key, self.rows(self.place(stage)), order.waiting):
                order.revise(agenda.works(ahead))
        self.agenda = agenda
        return order

    def place(self, stage: Stage) -> int:
        return int(stage.name.split("-")[-2]) // 8

    def groups(self, kind: StageKind = StageKind.PACK) -> list[int]:
        """Places of the groups that were started, in the order in which they were."""
        return [
            self.place(stage) for stage in self.started if stage.kind is kind and not stage.name.startswith(HELD_OUT)
        ]


def fewest(rows: Callable[[int], int]) -> int:
    held = count = 0
    while held < NEEDED_ROWS and count < 818:
        held += rows(count)
        count += 1
    return count


def test_groups_that_turn_out_superfluous_are_neither_downloaded_nor_packed() -> None:
    run = Run(rows=lambda _place: 100_000)
    assert run.go().blocked == {}
    assert run.groups() == run.groups(StageKind.CORPUS) == list(range(8))
    assert len({stage.key for stage in run.started if is_group(stage)}) < EXPECTED_GROUPS


def test_further_groups_are_added_where_the_rows_do_not_suffice() -> None:
    run = Run(rows=lambda _place: 20_000)
    run.go()
    assert run.groups() == run.groups(StageKind.CORPUS) == list(range(36))
    assert set(run.agenda.stages) >= {stage.key for stage in run.started}
    assert {run.agenda.owners[stage.key] for stage in run.started} == {TAG}


def test_a_corpus_that_is_too_short_is_packed_to_its_end_and_trained_on_in_epochs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = find_recipe(TAG)
    short = replace(recipe, tag="short", corpus=replace(recipe.corpus, training_shards=8 * EXPECTED_GROUPS + 12))
    monkeypatch.setitem(recipes(), "short", short)
    run = Run(rows=lambda _place: 100, tag="short")
    run.go()
    assert run.groups() == list(range(EXPECTED_GROUPS + 2))
    assert [stage.kind for stage in run.started].count(StageKind.PUBLISH) == 1


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(40_000, 120_000), min_size=1, max_size=6), st.integers(1, 4))
def test_every_stage_reads_exactly_the_groups_that_hold_its_rows_whatever_was_expected(
    sizes: list[int], packers: int
) -> None:
    run = Run(rows=lambda place: sizes[place % len(sizes)], packers=packers)
    assert run.go().blocked == {}
    needed = fewest(run.rows)
    packed = run.groups()
    assert set(packed) >= set(range(needed))
    assert max(packed) < needed + packers + 1  # what had been begun when the others turned out longer
    for index, stage in enumerate(run.started):
        assert all(need in run.started[:index] for need in map(same(run.started), stage.needs.values()))
    last = next(stage for stage in run.agenda.stages.values() if stage.kind is StageKind.RECALIBRATE)
    assert len(groups_of(last)) == needed


def same(stages: list[Stage]) -> Callable[[Stage], Stage]:
    by_key = {stage.key: stage for stage in stages}
    return lambda stage: by_key[stage.key]


@pytest.mark.parametrize("packers", [1, 4])
def test_only_a_few_groups_beyond_those_that_are_packed_are_under_way(packers: int) -> None:
    run = Run(rows=lambda _place: 64_000, packers=packers)
    run.go()
    begun: set[int] = set()
    packed: list[int] = []
    for stage in run.started:
        if is_group(stage):
            packed.append(run.place(stage))
        if stage.kind is StageKind.CORPUS and not stage.name.startswith(HELD_OUT):
            begun.add(run.place(stage))
            assert len(begun - set(packed)) <= packers + 2


def test_a_group_that_is_given_up_blocks_nothing_when_it_fails_and_one_that_is_needed_does() -> None:
    fine = Run(rows=lambda _place: 100_000, failing=frozenset({"climbmix-00064-00072"}))
    assert fine.go().blocked == {}
    needed = Run(rows=lambda _place: 100_000, failing=frozenset({"climbmix-00056-00064"}))
    blocked = {needed.agenda.stages[key].kind for key in needed.go().blocked}
    assert StageKind.RECALIBRATE in blocked
    assert StageKind.CORPUS not in blocked


def test_a_group_that_is_in_the_store_already_is_only_looked_at() -> None:
    first = next(stage for stage in stages_of(TAG).values() if is_group(stage))
    size = 100_000 * 4097 * 2
    found = Found(committed=True, bytes=size, files={"rows.bin": size})
    run = Run(rows=lambda _place: 100_000, survey={first.address.folder: found})
    run.go()
    assert run.groups() == list(range(8))
    assert run.agenda.groups_to_pack == 0
