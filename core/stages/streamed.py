"""Inputs that are too large to be fetched whole: a stage brings them to local disk one by one, when it needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from artifacts.address import Address
from artifacts.store import HeldFiles, Room, Store


@dataclass(frozen=True, kw_only=True)
class StreamedArtifact:
    """One group of packed rows, as the supervisor names it to the stage."""

    address: Address
    rows: int


@dataclass(frozen=True, kw_only=True)
class StreamedInput:
    """The same with the store that has it."""

    artifact: StreamedArtifact
    store: Store

    def hold(self, evict_last: Sequence[StreamedInput]) -> HeldFiles:
        """Its verified files on local disk, until released; `evict_last` should go last to make room, in this order.

        Raises `CacheFull` when what is in use leaves no room for them, `StoreUnavailable`, `ArtifactMissing` or
        `ArtifactDamaged`.
        """
        folders = tuple(other.artifact.address.folder for other in evict_last)
        return self.store.hold(self.artifact.address, Room(may_exceed=False, evict_last=folders))
