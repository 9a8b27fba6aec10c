"""A map on threads: the order of the stream, a bounded look ahead, and errors that reach whoever listens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.ordered_map import ordered_map


@given(st.lists(st.integers()), st.integers(1, 6))
def test_results_come_in_the_order_of_the_stream(items: list[int], threads: int) -> None:
    assert list(ordered_map(lambda item: item * 2, items, threads)) == [item * 2 for item in items]


def test_no_more_than_twice_the_threads_are_read_ahead() -> None:
    read = []

    def stream() -> Iterator[int]:
        for item in range(100):
            read.append(item)
            yield item

    results = ordered_map(abs, stream(), threads=3)
    assert next(results) == 0
    assert len(read) == 7
    results.close()
    assert len(read) == 7


def test_an_error_of_the_function_comes_at_its_place() -> None:
    results = ordered_map(lambda item: 1 // item, [1, 1, 0, 1], threads=2)
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
