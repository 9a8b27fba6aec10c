"""The groups of a packed stream as inputs of a stage: how their roles are named and ordered, and those that are too
large to be fetched whole, which a stage brings to local disk one by one, when it needs them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from artifacts.address import Address
from artifacts.store import HeldFiles, Room, Store

GROUP = "group-"  # how the role of every group begins


def group_role(index: int) -> str:
    """The role of a group of the stream."""
    return f"{GROUP}{index:03d}"


def group_roles(roles: Iterable[str]) -> list[str]:
    """Those of groups, in the order of the stream, which is that of their numbers: there can be more than 1,000."""
    return sorted((role for role in roles if role.startswith(GROUP)), key=lambda role: int(role.removeprefix(GROUP)))


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
