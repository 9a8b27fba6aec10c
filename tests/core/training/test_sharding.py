"""Two and three ranks, real processes, hold a part of the optimizer each and take the step that one takes alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import optimizer_ranks as ranks
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from optimizer_ranks import Trajectory

from core.training.distributed import World
from core.training.sharding import Shards

ALONE = World(0, 1, torch.device("cpu"))
HALFWAY = 2  # of the four steps

Results = list[dict[str, Any]]


@given(count=st.integers(1, 200), size=st.integers(1, 17))
def test_the_shards_of_all_ranks_tile_the_pieces_in_order_and_none_exceeds_its_part(count: int, size: int) -> None:
    shards = [Shards(count, World(rank, size, torch.device("cpu"))) for rank in range(size)]
    assert [piece for shard in shards for piece in shard.owned] == list(range(count))
    assert all(len(shard.owned) <= shard.part for shard in shards)
    assert {(shard.part, shard.part * size) for shard in shards} == {(shards[0].part, count + shards[0].padding)}
    assert 0 <= shards[0].padding < size


def test_a_world_of_one_keeps_everything_where_it_is() -> None:
    shards, stack = Shards(5, ALONE), torch.randn(5, 2, 3)
    assert shards.padding == 0
    for same in (shards.stack([stack]), shards.reduce(stack), shards.all_gather(stack), shards.gather(stack)):
        assert same is not None
        assert same.data_ptr() == stack.data_ptr()
        assert same.shape == stack.shape
    _, optimizer = ranks.toy(ALONE)
    optimizer.state()["lm_head.weight.first_moment"].fill_(3)
    assert optimizer.state()["lm_head.weight.first_moment"].eq(3).all()


@pytest.fixture(scope="module")
def alone() -> Trajectory:
    """Four steps of one rank."""
    return ranks.undisturbed(ALONE)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What two ranks did."""
    return ranks.run_ranks(
        tmp_path_factory.mktemp("two") / "ranks",
        2,
        {
            "undisturbed": ranks.undisturbed,
            "halfway": partial(ranks.undisturbed, steps=HALFWAY),
            "continued": ranks.interrupted_halfway,
            "bfloat16": partial(ranks.undisturbed, dtype=torch.bfloat16),
            "refusal": ranks.refusal,
            "discarded": ranks.discarded,
        },
    )


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, two: Results) -> Results:
    """What three ranks did, one of which owns no matrix of the smallest group; they go on with the state of the two."""
    return ranks.run_ranks(
        tmp_path_factory.mktemp("three") / "ranks",
        3,
        {
            "undisturbed": ranks.undisturbed,
            "continued": partial(ranks.continued, saved=two[0]["halfway"]),
            "bfloat16": partial(ranks.undisturbed, dtype=torch.bfloat16),
        },
    )


def assert_same_step(found: Trajectory, expected: Trajectory) -> None:
    """Equal but for the order of additions: six rows add up to within 6 * 2^-24, and four steps hardly amplify that.

    Seen: 5e-7 on numbers of up to 6.
    """
    assert found.norms == pytest.approx(expected.norms, rel=1e-6)
    for mine, theirs in ((found.parameters, expected.parameters), (found.state, expected.state)):
        assert set(mine) == set(theirs)
        for name, tensor in theirs.items():
            torch.testing.assert_close(
                mine[name], tensor, rtol=2e-6, atol=2e-6, msg=lambda text, at=name: f"{at}: {text}"
            )


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_several_ranks_take_the_steps_that_one_takes(
    size: int, request: pytest.FixtureRequest, alone: Trajectory
) -> None:
    results: Results = request.getfixturevalue({2: "two", 3: "three"}[size])
    assert_same_step(results[0]["undisturbed"], alone)


@pytest.mark.slow
@pytest.mark.parametrize("world", ["two", "three"])
def test_all_ranks_end_with_the_same_bits_and_the_same_norms(world: str, request: pytest.FixtureRequest) -> None:
    first, *others = [result["undisturbed"] for result in request.getfixturevalue(world)]
    for other in others:
        assert other.norms == first.norms
        assert all(torch.equal(tensor, first.parameters[name]) for name, tensor in other.parameters.items())


@pytest.mark.slow
def test_a_rank_holds_the_state_of_what_it_owns_and_only_rank_0_is_given_the_whole(
    two: Results, three: Results, alone: Trajectory
) -> None:
    assert [result["undisturbed"].held for result in two] == [alone.held // 2] * 2
    held = [result["undisturbed"].held for result in three]
    assert sum(held) == alone.held
    assert max(held) < alone.held / 2
    assert [len(result["undisturbed"].state) for result in three] == [len(alone.state), 0, 0]


@pytest.mark.slow
def test_state_saved_by_two_ranks_goes_on_with_one_and_with_three(
    two: Results, three: Results, alone: Trajectory
) -> None:
    halfway: Trajectory = two[0]["halfway"]
    for found in (ranks.continued(ALONE, halfway), three[0]["continued"]):
        assert_same_step(replace(found, norms=halfway.norms + found.norms), alone)


@pytest.mark.slow
def test_two_ranks_that_were_interrupted_end_with_the_bits_of_two_that_were_not(two: Results) -> None:
    for result in two:
        assert result["continued"].sha256 == result["undisturbed"].sha256


@pytest.mark.slow
def test_a_bfloat16_table_adds_up_to_the_same_bits_on_any_number_of_ranks(two: Results, three: Results) -> None:
    expected = ranks.undisturbed(ALONE, dtype=torch.bfloat16)
    name = "transformer.wte.weight"
    for result in (two[0], three[0]):
        found: Trajectory = result["bfloat16"]
        assert found.parameters[name].dtype == found.state[f"{name}.first_moment"].dtype == torch.bfloat16
        assert torch.equal(found.parameters[name], expected.parameters[name])
        assert torch.equal(found.state[f"{name}.second_moment"], expected.state[f"{name}.second_moment"])


@pytest.mark.slow
def test_a_state_that_does_not_fit_is_refused_by_all_ranks_in_the_same_words(two: Results) -> None:
    reason = "the optimizer state does not fit this model: lm_head.weight.updates is in only one of them"
    assert [result["refusal"] for result in two] == [reason, reason]


@pytest.mark.slow
def test_discarded_gradients_leave_no_trace_on_any_rank(two: Results) -> None:
    for result in two:
        gone, norms = result["discarded"]
        assert gone
        assert norms == result["undisturbed"].norms[:HALFWAY]
