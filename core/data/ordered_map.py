"""A function applied to a stream on several threads: results in the order of the stream, few of them in memory.

At most `2 * threads` items are taken from the stream before their results are asked for, however long it is. The first
error of the stream or of the function ends it; whoever stops listening early ends it too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def ordered_map(function: Callable[[ItemT], ResultT], items: Iterable[ItemT], threads: int) -> Iterator[ResultT]:
    """Yield `function(item)` for each item; worth its threads where the function releases the interpreter lock."""
    stream = iter(items)
    running: deque[Future[ResultT]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        running.extend(pool.submit(function, item) for item in islice(stream, 2 * threads))
        while running:
            result = running.popleft().result()
            running.extend(pool.submit(function, item) for item in islice(stream, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)
