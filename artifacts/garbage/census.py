"""Every object of a store by the artifact's folder it lies in, from one listing: what garbage is told by.

`leftovers` are objects that no artifact has and nobody continues from: attempts that were never committed, extents of
such attempts, and checkpoints of a stage that is committed. Whether somebody is about to use them, its lease says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from artifacts.address import KEY_PREFIX, Address
from artifacts.storage import Listed

LEASE = "lease.json"  # never deleted: its token only grows
MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Holding:
    """One artifact's folder."""

    address: Address  # its key cut to 12 characters
    objects: tuple[Listed, ...]  # by path, relative to the folder; without the lease
    leased: bool  # a lease was taken some time

    @cached_property
    def committed(self) -> bool:
        """Whether it has a manifest."""
        return any(found.path == MANIFEST for found in self.objects)

    @property
    def bytes(self) -> int:
        """Of everything in it."""
        return sum(found.bytes for found in self.objects)

    @property
    def names(self) -> frozenset[str]:
        """See `names_of`."""
        return names_of(self.objects)


@dataclass(frozen=True, kw_only=True)
class Census:
    """A store's listing, sorted out."""

    holdings: Mapping[str, Holding]  # by folder, sorted
    others: tuple[str, ...]  # paths outside of any artifact's folder

    @cached_property
    def folders_of_key(self) -> Mapping[str, tuple[str, ...]]:
        """Folders by the part of a key that they show; an artifact that was renamed has two."""
        found: dict[str, list[str]] = defaultdict(list)
        for folder, holding in self.holdings.items():
            found[holding.address.key].append(folder)
        return {key: tuple(folders) for key, folders in found.items()}

    def with_key(self, key: str) -> tuple[str, ...]:
        """The folders of the artifact with this key, whatever it is called."""
        return self.folders_of_key.get(key[:KEY_PREFIX], ())


def census_of(entries: Iterable[Listed]) -> Census:
    """Sort the objects of a whole store by artifact folder."""
    groups: dict[str, list[Listed]] = defaultdict(list)
    addresses: dict[str, Address | None] = {}
    others: list[str] = []
    for entry in entries:
        kind, _, rest = entry.path.partition("/")
        name, _, inside = rest.partition("/")
        folder = f"{kind}/{name}"
        if inside and folder not in addresses:
            addresses[folder] = Address.parse(folder)
        if inside and addresses[folder] is not None:
            groups[folder].append(Listed(inside, entry.bytes, entry.stamp))
        else:
            others.append(entry.path)
    holdings = {
        folder: _holding(address, groups[folder])
        for folder, address in sorted(addresses.items())
        if address is not None
    }
    return Census(holdings=holdings, others=tuple(others))


def names_of(objects: Iterable[Listed]) -> frozenset[str]:
    """The attempts and checkpoints among `objects`, as `files/<attempt>` and `progress/<checkpoint>`.

    Neither name is ever used twice, so what has the same names has not been worked on in between.
    """
    return frozenset(
        "/".join(found.path.split("/")[:2]) for found in objects if found.path.startswith(("files/", "progress/"))
    )


def leftovers(objects: Iterable[Listed], attempt: str | None) -> list[Listed]:
    """Those of a folder's `objects` that its committed `attempt` (None: there is none) has no use for."""
    return [found for found in objects if _is_left_over(found.path, attempt)]


def _is_left_over(path: str, attempt: str | None) -> bool:
    if attempt is None:
        return path.startswith(("files/", "extent/"))
    of_attempt = (f"files/{attempt}/", f"extent/{attempt}-")
    return path.startswith(("files/", "extent/", "progress/")) and not path.startswith(of_attempt)


def _holding(address: Address, entries: list[Listed]) -> Holding:
    return Holding(
        address=address,
        objects=tuple(entry for entry in entries if entry.path != LEASE),
        leased=any(entry.path == LEASE for entry in entries),
    )
