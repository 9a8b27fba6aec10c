"""Sequences waiting to be packed, sorted by length: the longest that fits, or the shortest, in logarithmic time.

Holds exactly `capacity` sequences while they last; equal lengths leave in the order in which they came. What is
taken is therefore a function of the sequence of arrivals and of the spaces asked for.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sized
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT", bound=Sized)

ARRIVAL_BITS = 48  # a key is one integer, the length above the arrival: it compares faster than a pair
ARRIVAL = (1 << ARRIVAL_BITS) - 1


class BestFitBuffer(Generic[ItemT]):
    """A window of `capacity` items over a sequence of them; `taken` is the number of the last one that left it."""

    def __init__(self, items: Iterable[ItemT], capacity: int) -> None:
        self._arrivals = enumerate(items)
        self._capacity = capacity
        self._order: list[int] = []  # keys, ascending
        self._waiting: dict[int, ItemT] = {}  # key -> item
        self.taken = -1

    def fill(self) -> bool:
        """Top up to `capacity`; False once the buffer is empty and nothing more will come."""
        while len(self._order) < self._capacity:
            arrival, item = next(self._arrivals, (-1, None))
            if item is None:
                break
            key = len(item) << ARRIVAL_BITS | arrival
            insort(self._order, key)
            self._waiting[key] = item
        return bool(self._order)

    def take_longest(self, space: int) -> ItemT | None:
        """Remove the longest item of at most `space`, the first to come of equals; None when none fits."""
        fitting = bisect_left(self._order, (space + 1) << ARRIVAL_BITS)  # how many fit
        return None if fitting == 0 else self._take(self._order[fitting - 1])

    def take_shortest(self) -> ItemT:
        """Remove the shortest item, the first to come of equals; the buffer must not be empty."""
        return self._take(self._order[0])

    def _take(self, key: int) -> ItemT:
        """Remove the first to come of those as long as that of `key`."""
        first = self._order.pop(bisect_left(self._order, key & ~ARRIVAL))
        self.taken = first & ARRIVAL
        return self._waiting.pop(first)
