"""Reading every artifact again, a share of them each time: the store remembers how far the last share went.

    maintenance/rotation.json

A share ends with the artifact in which its budget of bytes is reached, so a store of B bytes is read within
ceil(B / budget) shares, whatever its artifacts' sizes. What is new is read when its place in the order comes round.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, Field

from artifacts.address import Address
from artifacts.errors import ArtifactMissing
from artifacts.manifest import FORMAT, STRICT
from artifacts.store import Store

PATH = "maintenance/rotation.json"


class Rotation(BaseModel):
    """How far the rotation is."""

    model_config = STRICT

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)] = FORMAT
    after: str  # the folder that was read last
    nonce: str = Field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True, kw_only=True)
class DamagedArtifact:
    """One that is not what its manifest says."""

    folder: str
    damages: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one share read."""

    verified: int  # artifacts
    bytes: int
    damaged: tuple[DamagedArtifact, ...]
    first: str  # folders; empty when there is nothing to read
    last: str
    artifacts: int  # that the store has
    nights: int  # shares after which everything has been read


def verify_share(store: Store, budget: float, tell: Callable[[str], None]) -> Share:
    """Verify artifacts as `miniseries verify` does, from where the last share ended, until `budget` bytes were read.

    `tell` hears of each before it is read, and may raise to stop. Raises `StoreError`.
    """
    sizes = {folder: found.bytes for folder, found in store.survey().items() if found.committed}
    read: list[str] = []
    damaged: list[DamagedArtifact] = []
    size = 0
    for folder in _from_cursor(store, list(sizes)):
        if read and size >= budget:
            break
        tell(folder)
        damages = _verified(store, folder)
        store.records.write(PATH, Rotation(after=folder))
        read.append(folder)
        size += sizes[folder]
        if damages:
            damaged.append(DamagedArtifact(folder=folder, damages=damages))
    return Share(
        verified=len(read),
        bytes=size,
        damaged=tuple(damaged),
        first=read[0] if read else "",
        last=read[-1] if read else "",
        artifacts=len(sizes),
        nights=max(1, math.ceil(sum(sizes.values()) / budget)),
    )


def _from_cursor(store: Store, folders: Sequence[str]) -> Iterator[str]:
    """All folders, which are sorted, beginning behind the one that was read last."""
    rotation = store.records.read(PATH, Rotation)
    after = "" if rotation is None else rotation.after
    yield from (folder for folder in folders if folder > after)
    yield from (folder for folder in folders if folder <= after)


def _verified(store: Store, folder: str) -> tuple[str, ...]:
    address = Address.parse(folder)
    assert address is not None, folder  # the survey parsed it before
    try:
        return tuple(str(damage) for damage in store.verify(address))
    except ArtifactMissing:  # collected or discarded since the survey
        return ()
