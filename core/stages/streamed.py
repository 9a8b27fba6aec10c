"""Inputs that are too large to be fetched whole: a stage brings them to local disk one by one, when it needs them."""

from __future__ import annotations

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

    def hold(self, room: Room) -> HeldFiles:
        """Its verified files on local disk, until released.

        Raises `CacheFull` when there is no `room` for them, `StoreUnavailable`, `ArtifactMissing`, `ArtifactDamaged`.
        """
        return self.store.hold(self.artifact.address, room)
