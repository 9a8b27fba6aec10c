"""The order of execution, on DAGs of any shape: needs first, within the limits, and not much later than possible."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.planning.catalogue import stages_of
from core.planning.order import Lane, Order, Work, remaining_seconds
from core.planning.stage import in_order
from core.stages.identity import TrainingIdentity
from core.stages.kind import StageKind

DAGS = st.integers(1, 12).flatmap(
    lambda size: st.tuples(
        *(
            st.tuples(st.sets(st.integers(0, max(0, index - 1))), st.sampled_from(Lane), st.integers(0, 9))
            for index in range(size)
        )
    )
)
LIMITS = st.fixed_dictionaries({lane: st.integers(1, 3) for lane in Lane})


def works(dag: Sequence[tuple[set[int], Lane, int]]) -> list[Work]:
    return [
        Work(key=str(index), needs=frozenset(str(need) for need in needs if need < index), lane=lane, seconds=seconds)
        for index, (needs, lane, seconds) in enumerate(dag)
    ]


def never(_work: Work) -> bool:
    return False


@dataclass
class Simulation:
    """Runs an order against a clock: every work takes exactly its seconds, and those in `failing` fail then."""

    works: Sequence[Work]
    limits: Mapping[Lane, int]
    failing: frozenset[str] = frozenset()
    is_held: Callable[[Work], bool] = never
    started: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    most: dict[Lane, int] = field(default_factory=lambda: dict.fromkeys(Lane, 0))

    def run(self) -> Order:
        order, now = Order(self.works, self.limits), 0.0
        running: list[tuple[float, str, Lane, int]] = []
        while not order.is_over:
            while (work := order.next(self.is_held)) is not None:
                slot = order.start(work.key)
                assert slot not in {place for _, _, lane, place in running if lane is work.lane}
                assert slot < self.limits[work.lane]
                self.started[work.key] = now
                heapq.heappush(running, (now + work.seconds, work.key, work.lane, slot))
                self.most[work.lane] = max(self.most[work.lane], sum(lane is work.lane for _, _, lane, _ in running))
            now, key, _, _ = heapq.heappop(running)
            self.ended[key] = now
            (order.fail if key in self.failing else order.finish)(key)
        return order


@given(DAGS, LIMITS)
def test_everything_runs_once_after_its_needs_and_within_the_limits(
    dag: Sequence[tuple[set[int], Lane, int]], limits: Mapping[Lane, int]
) -> None:
    simulation = Simulation(works(dag), limits)
    assert simulation.run().blocked == {}
    assert set(simulation.ended) == {work.key for work in simulation.works}
    for work in simulation.works:
        assert all(simulation.ended[need] <= simulation.started[work.key] for need in work.needs)
    assert all(simulation.most[lane] <= limits[lane] for lane in Lane)


@given(DAGS, LIMITS)
def test_it_ends_no_later_than_list_scheduling_promises(
    dag: Sequence[tuple[set[int], Lane, int]], limits: Mapping[Lane, int]
) -> None:
    simulation = Simulation(works(dag), limits)
    simulation.run()
    longest = max(remaining_seconds(simulation.works).values())
    loads = {lane: sum(work.seconds for work in simulation.works if work.lane is lane) for lane in Lane}
    makespan = max(simulation.ended.values())
    assert longest <= makespan <= longest + sum(loads[lane] / limits[lane] for lane in Lane) + 1e-9


@given(DAGS, LIMITS, st.sets(st.integers(0, 11)))
def test_a_failure_blocks_what_needs_it_and_nothing_else(
    dag: Sequence[tuple[set[int], Lane, int]], limits: Mapping[Lane, int], failing: set[int]
) -> None:
    failed = frozenset(map(str, failing))
    simulation = Simulation(works(dag), limits, failed)
    order = simulation.run()
    behind: dict[str, bool] = {}
    for work in simulation.works:
        behind[work.key] = any(need in failed or behind[need] for need in work.needs)
        assert (work.key in simulation.started) != behind[work.key]
    assert set(order.blocked) == {key for key, is_behind in behind.items() if is_behind}
    assert set(order.blocked.values()) <= failed


@given(DAGS, LIMITS)
def test_of_what_may_start_the_longest_remaining_path_is_next(
    dag: Sequence[tuple[set[int], Lane, int]], limits: Mapping[Lane, int]
) -> None:
    simulation = Simulation(works(dag), limits)
    simulation.run()
    remaining = remaining_seconds(simulation.works)
    for one in simulation.works:
        for other in simulation.works:
            if one.lane is other.lane and simulation.started[one.key] < simulation.started[other.key]:
                was_ready = all(simulation.ended[need] < simulation.started[one.key] for need in other.needs)
                assert not was_ready or remaining[one.key] >= remaining[other.key]


@given(DAGS, LIMITS, st.sets(st.integers(0, 11)))
def test_what_another_run_makes_is_left_to_it_while_there_is_anything_else_and_is_not_forgotten(
    dag: Sequence[tuple[set[int], Lane, int]], limits: Mapping[Lane, int], held: set[int]
) -> None:
    simulation = Simulation(works(dag), limits, is_held=lambda work: int(work.key) in held)
    simulation.run()
    assert set(simulation.ended) == {work.key for work in simulation.works}
    one = Order([Work(key=key, needs=frozenset(), lane=Lane.GPU, seconds=9 - int(key)) for key in "012"], limits)
    following = one.next(lambda work: work.key == "0")
    assert following is not None
    assert following.key == "1"


def test_a_fork_starts_as_soon_as_its_segment_is_there_while_the_trunk_goes_on() -> None:
    tags = ("tiny", "tiny_drope_25", "tiny_drope_50")
    stages = in_order([stage for tag in tags for stage in stages_of(tag).values()])
    training = {stage.key: stage for stage in stages if isinstance(stage.identity, TrainingIdentity)}
    durations = {key: stage.identity.end_step - stage.identity.first_step for key, stage in training.items()}
    needs = {key: frozenset(need.key for need in stage.needs.values()) for key, stage in training.items()}
    simulation = Simulation(
        [Work(key=key, needs=needs[key], lane=Lane.GPU, seconds=durations[key]) for key in training],
        {Lane.GPU: 3, Lane.HOST: 1, Lane.PACK: 1},
    )
    simulation.run()
    trunk = [key for key, stage in training.items() if stage.kind is StageKind.PRETRAIN]
    forks = [key for key, stage in training.items() if stage.kind is StageKind.RECALIBRATE]
    for fork in forks:
        assert simulation.started[fork] == simulation.ended[training[fork].inputs["previous"].key]
        assert simulation.started[fork] < simulation.ended[trunk[-1]]


@given(DAGS, LIMITS, st.sets(st.integers(0, 11)), st.sets(st.integers(0, 11)))
def test_what_comes_after_another_waits_for_its_end_whether_that_is_good_or_bad(
    dag: Sequence[tuple[set[int], Lane, int]], limits: Mapping[Lane, int], later: set[int], failing: set[int]
) -> None:
    """Each of `later` comes after the one before it in the list."""
    found = [
        replace(work, after=frozenset([str(index - 1)])) if index and index in later else work
        for index, work in enumerate(works(dag))
    ]
    simulation = Simulation(found, limits, failing=frozenset(map(str, failing)))
    order = simulation.run()
    assert order.blocked.keys() | simulation.ended.keys() == {work.key for work in found}
    for work in found:
        for before in work.after & simulation.ended.keys() if work.key in simulation.ended else ():
            assert simulation.ended[before] <= simulation.started[work.key]


@given(DAGS, LIMITS, st.sets(st.integers(0, 11)), st.integers(1, 12))
def test_what_is_given_up_on_the_way_does_not_start_and_what_is_added_does(
    dag: Sequence[tuple[set[int], Lane, int]], limits: Mapping[Lane, int], dropped: set[int], started: int
) -> None:
    """The last half of the works is added, and `dropped` are given up, once `started` works have been started."""
    everything = works(dag)
    order = Order(everything[: (len(everything) + 1) // 2], limits)
    begun: list[str] = []

    def go_on(limit: float) -> None:
        while len(begun) < limit and (work := order.next(never)) is not None:
            order.start(work.key)
            order.finish(work.key)
            begun.append(work.key)

    go_on(started)
    kept = [work for index, work in enumerate(everything) if index not in dropped]
    given_up = order.waiting - {work.key for work in kept}
    order.revise(kept)
    go_on(inf)
    assert order.is_over
    assert given_up.isdisjoint(begun)
    assert {work.key for work in kept} <= set(begun)


def test_what_is_added_and_needs_something_that_failed_before_is_blocked() -> None:
    first, second, third = works([(set(), Lane.GPU, 1), ({0}, Lane.GPU, 1), ({1}, Lane.GPU, 1)])
    order = Order([first, second], dict.fromkeys(Lane, 1))
    order.start("0")
    order.fail("0")
    order.revise([first, second, third])
    assert order.blocked == {"1": "0", "2": "0"}
    assert order.is_over


def test_starting_out_of_order_is_refused() -> None:
    order = Order(works([(set(), Lane.GPU, 1), ({0}, Lane.GPU, 1)]), dict.fromkeys(Lane, 1))
    with pytest.raises(ValueError, match="must not start now"):
        order.start("1")
