"""Reading in pieces, in rows of different lengths that come, go and move, against reading each row at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.model.architecture import Architecture
from core.model.key_value_cache import KeyValueCache
from core.model.transformer import Transformer

ROWS, CAPACITY, VOCABULARY = 4, 12, 50

Build = Callable[..., Transformer]


class Readers:
    """Rows of a cache in use, [0, n), with the tokens that each has read."""

    def __init__(self, model: Transformer, seed: int) -> None:
        self.model = model
        self.cache = KeyValueCache(model.architecture, rows=ROWS, capacity=CAPACITY)
        self.read: list[list[int]] = []
        self.random = torch.Generator().manual_seed(seed)

    def fresh(self, count: int) -> list[int]:
        return torch.randint(0, VOCABULARY, (count,), generator=self.random).tolist()

    def go_on(self, first: int, counts: list[int]) -> None:
        """Read `counts` tokens in rows from `first`, and compare what comes out with reading everything again."""
        new = [self.fresh(count) for count in counts]
        padded = [tokens + self.fresh(max(counts) - len(tokens)) for tokens in new]
        logits = self.model(torch.tensor(padded), self.cache.window(first, counts))
        for row, tokens in enumerate(new):
            self.read[first + row] += tokens
            whole = self.model(torch.tensor([self.read[first + row]]))[0]
            torch.testing.assert_close(logits[row, : len(tokens)], whole[-len(tokens) :], rtol=1e-4, atol=1e-4)

    def admit(self, lengths: list[int]) -> None:
        first = len(self.read)
        self.read += [[] for _ in lengths]
        self.go_on(first, lengths)

    def leave(self, row: int) -> None:
        last = len(self.read) - 1
        if row == last:
            self.cache.clear(row)
        else:
            self.cache.move(last, row)
            self.read[row] = self.read[last]
        self.read.pop()


LENGTHS = st.lists(st.integers(1, 5), min_size=1, max_size=ROWS)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), LENGTHS),
        st.tuples(st.just("step"), st.just(0)),
        st.tuples(st.just("read on"), LENGTHS),
        st.tuples(st.just("leave"), st.integers(0, ROWS - 1)),
    ),
    min_size=1,
    max_size=12,
)


@pytest.fixture(params=[(True, 4), (False, 4), (True, 2)], ids=["rope", "no-rope", "grouped"])
def model(request: pytest.FixtureRequest, build: Build, toy: Architecture) -> Transformer:
    use_rope, key_value_heads = request.param
    return build(replace(toy, key_value_heads=key_value_heads), use_rope)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS, seed=st.integers(0, 3))
@torch.no_grad()
def test_rows_that_come_go_and_move_read_as_if_each_were_alone(
    model: Transformer, actions: list[tuple[str, list[int] | int]], seed: int
) -> None:
    readers = Readers(model, seed)
    for action, value in actions:
        in_use, longest = len(readers.read), max(readers.cache.lengths)
        match action, value:
            case "admit", list(lengths) if in_use + len(lengths) <= ROWS:
                readers.admit(lengths)
            case "step", _ if in_use and longest < CAPACITY:
                readers.go_on(0, [1] * in_use)
            case "read on", list(counts) if in_use and longest + max(counts) <= CAPACITY:
                readers.go_on(0, (counts * ROWS)[:in_use])
            case "leave", int(row) if row < in_use:
                readers.leave(row)


@torch.no_grad()
def test_one_token_at_a_time_equals_reading_at_once_at_every_length(model: Transformer) -> None:
    readers = Readers(model, seed=9)
    readers.admit([1])
    for _ in range(CAPACITY - 1):
        readers.go_on(0, [1])


@torch.no_grad()
def test_what_does_not_fit_is_refused_before_anything_is_read(model: Transformer) -> None:
    readers = Readers(model, seed=0)
    readers.admit([5, 2])
    with pytest.raises(ValueError, match="holds 12 tokens, 13 are needed"):
        readers.cache.window(0, [8, 1])
    assert readers.cache.lengths == [5, 2, 0, 0]
    readers.go_on(0, [7, 7])


@torch.no_grad()
def test_memory_that_was_never_written_cannot_reach_a_result(model: Transformer) -> None:
    def logits(cache: KeyValueCache) -> Tensor:
        model(torch.tensor([[1, 2, 3], [4, 0, 0]]), cache.window(0, [3, 1]))
        return model(torch.tensor([[5], [6]]), cache.window(0, [1, 1]))

    clean, dirty = (KeyValueCache(model.architecture, rows=2, capacity=8) for _ in range(2))
    dirty.keys[:, 1, 2:] = dirty.values[:, 1, 2:] = 1e30
    assert torch.equal(logits(clean), logits(dirty))
