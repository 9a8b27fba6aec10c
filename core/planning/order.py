"""In which order stages run: the longest remaining path first, within a limit for each lane. Pure; the same every time.

Guarantees: a stage is started only after everything it needs ended well; no more than a lane's limit run at once; a
lane with room is never left idle while a stage of it could start; a failure blocks what needs it and nothing else.
What is to be done may change on the way: see `Order.revise`.
This is list scheduling by critical path: it takes at most the longest path plus, for each lane, the work of the lane
divided by its limit (after R. L. Graham, "Bounds on multiprocessing timing anomalies", 1969).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Lane(StrEnum):
    """Stages of one lane compete with each other; those of different lanes run beside each other."""

    GPU = "gpu"
    HOST = "host"  # processor, disk, network
    PACK = "pack"  # shard groups: the same, or a cluster


@dataclass(frozen=True, kw_only=True)
class Work:
    """One stage as the order sees it."""

    key: str
    needs: frozenset[str]  # keys; one that is not in the order counts as there
    lane: Lane
    seconds: float  # estimated; only the order depends on it
    after: frozenset[str] = frozenset()  # keys that have ended before it starts, well or not


def remaining_seconds(works: Sequence[Work]) -> dict[str, float]:
    """The longest path from each work, itself included, to the end of everything that needs it; `works` needs first."""
    after = {work.key: 0.0 for work in works}  # the longest path that begins where the work ends
    for work in reversed(works):
        for need in (work.needs | work.after) & after.keys():
            after[need] = max(after[need], work.seconds + after[work.key])
    return {work.key: work.seconds + after[work.key] for work in works}


class Order:
    """What may run now. Told of every start and end; asked what is next.

    `works` must come needs first; between equally long paths, their order decides.
    """

    def __init__(self, works: Sequence[Work], limits: Mapping[Lane, int]) -> None:
        self.blocked: dict[str, str] = {}  # key -> key of the failed work on which it waited
        self._slots: dict[Lane, list[str | None]] = {lane: [None] * limit for lane, limit in limits.items()}
        self._works: dict[str, Work] = {}  # needs first
        self._waiting: dict[str, Work] = {}  # the longest remaining path first
        self._finished: set[str] = set()
        self._failed: list[str] = []
        self._remaining: dict[str, float] = {}
        self.revise(works)

    @property
    def waiting(self) -> frozenset[str]:
        """The keys that have not been started, and may be."""
        return frozenset(self._waiting)

    def revise(self, works: Sequence[Work]) -> None:
        """Take `works`, needs first, for all that is to be done from now on.

        What waits and is not among them is given up; what was started, has ended or is blocked stays as it is.
        """
        settled = {key: work for key, work in self._works.items() if key not in self._waiting}
        self._works = {**settled, **{work.key: work for work in works if work.key not in settled}}
        self._remaining = remaining = remaining_seconds(list(self._works.values()))
        waiting = [work for key, work in self._works.items() if key not in settled]
        self._waiting = {work.key: work for work in sorted(waiting, key=lambda work: -remaining[work.key])}
        for key in self._failed:
            self._block(key)

    def remaining(self, key: str) -> float:
        """Seconds from the start of `key` to the end of the longest path through it."""
        return self._remaining[key]

    @property
    def is_over(self) -> bool:
        """Nothing runs and nothing can start any more."""
        return not self._waiting and not any(key for slots in self._slots.values() for key in slots)

    def next(self, is_held: Callable[[Work], bool]) -> Work | None:
        """The work to start now, None while there is none.

        One that somebody else is making (`is_held`, asked about candidates only) comes after all that are free.
        """
        startable = [work for work in self._waiting.values() if self._may_start(work)]
        free = (work for work in startable if not is_held(work))
        return next(free, startable[0] if startable else None)

    def start(self, key: str) -> int:
        """Note that `key` runs from now on; return its place among those of its lane, from 0 to the limit - 1."""
        work = self._waiting[key]
        if not self._may_start(work):
            raise ValueError(f"{key} must not start now")
        del self._waiting[key]
        slots = self._slots[work.lane]
        slot = slots.index(None)
        slots[slot] = key
        return slot

    def finish(self, key: str) -> None:
        """Note that `key` ended well."""
        self._vacate(key)
        self._finished.add(key)

    def fail(self, key: str) -> list[str]:
        """Note that `key` failed; return the keys that are blocked now because of it."""
        self._vacate(key)
        self._failed.append(key)
        return self._block(key)

    def _block(self, key: str) -> list[str]:
        """Take what needs `key` from what waits; return all that is blocked because of it."""
        lost = {key, *(blocked for blocked, cause in self.blocked.items() if cause == key)}
        for work in self._works.values():  # needs first, so one pass finds all
            if work.key in self._waiting and work.needs & lost:
                lost.add(work.key)
                del self._waiting[work.key]
                self.blocked[work.key] = key
        return [each for each in self._works if each in lost and each != key]

    def _may_start(self, work: Work) -> bool:
        if None not in self._slots[work.lane] or (work.needs & self._works.keys()) - self._finished:
            return False
        ended = {*self._finished, *self._failed, *self.blocked}
        return not (work.after & self._works.keys()) - ended

    def _vacate(self, key: str) -> None:
        slots = self._slots[self._works[key].lane]
        slots[slots.index(key)] = None
