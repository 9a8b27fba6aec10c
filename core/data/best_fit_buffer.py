"""Sequences waiting to be packed, sorted by length: the longest that fits, or the shortest, in logarithmic time.

Holds exactly `capacity` sequences while they last; equal lengths leave in the order in which they came. What is
taken is therefore a function of the sequence of arrivals and of the spaces asked for.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sized
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT", bound=Sized)


class BestFitBuffer(Generic[ItemT]):
    """A window of `capacity` items over a sequence of them."""

    def __init__(self, items: Iterable[ItemT], capacity: int) -> None:
        self._arrivals = enumerate(items)
        self._capacity = capacity
        self._order: list[tuple[int, int]] = []  # (length, arrival), ascending
        self._waiting: dict[int, ItemT] = {}  # arrival -> item
        self.taken = -1  # arrival number of the item that was taken last

    def fill(self) -> bool:
        """Top up to `capacity`; False once the buffer is empty and nothing more will come."""
        while len(self._order) < self._capacity:
            arrival, item = next(self._arrivals, (-1, None))
            if item is None:
                break
            insort(self._order, (len(item), arrival))
            self._waiting[arrival] = item
        return bool(self._order)

    def take_longest(self, space: int) -> ItemT | None:
        """Remove the longest item of at most `space`, the first to come of equals; None when none fits."""
        fitting = bisect_left(self._order, (space + 1, -1))  # how many fit
        return None if fitting == 0 else self._take(self._order[fitting - 1][0])

    def take_shortest(self) -> ItemT:
        """Remove the shortest item, the first to come of equals; the buffer must not be empty."""
        return self._take(self._order[0][0])

    def _take(self, length: int) -> ItemT:
        _, arrival = self._order.pop(bisect_left(self._order, (length, -1)))
        self.taken = arrival
        return self._waiting.pop(arrival)
