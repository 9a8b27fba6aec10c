"""A part of the measurement: what is done in one go and never twice, and what has no number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import TypeAdapter

RecordT = TypeVar("RecordT")


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Something that has no number, and why."""

    what: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Part(Generic[RecordT]):
    """`measure` makes its records; where there are fewer than `wanted`, `missing` says of what, and why."""

    name: str
    kind: TypeAdapter[list[RecordT]]
    measure: Callable[[], Sequence[RecordT]]
    wanted: int = 0
    missing: Missing = Missing(what="", why="")

    def shortfall(self, found: int) -> Missing | None:
        """What is missing when `found` records were made."""
        if found >= self.wanted:
            return None
        return Missing(what=f"{self.missing.what}: {self.wanted - found} of {self.wanted}", why=self.missing.why)
