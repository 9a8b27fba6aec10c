"""What a store holds, told from the names and sizes of one listing: no object is read.

A commit leaves an object whose name says how many files and bytes the artifact has, so a listing alone shows that one
is missing, cut short or grown. A flipped byte is found by whoever reads it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from artifacts.address import Address
from artifacts.manifest import Manifest
from artifacts.progress import newest_declared_step
from artifacts.storage import Listed

EXTENT = re.compile(r"extent/(?P<attempt>.+)-(?P<files>\d+)-(?P<bytes>\d+)")


@dataclass(frozen=True)
class Found:
    """One artifact's folder."""

    committed: bool = False  # it has a manifest
    damaged: bool = False  # and a reader found it damaged, or its files are not as many and as large as they were
    checkpoint_step: int | None = None  # newest declared checkpoint
    leased: bool = False  # a lease was taken some time; `Store.holder_of` says whether it is held now
    bytes: int = 0  # of its files, once it is committed
    files: Mapping[str, int] = field(default_factory=dict)  # bytes of each by path, once it is committed and whole


@dataclass(frozen=True)
class Contents:
    """Everything that one listing shows."""

    artifacts: Mapping[str, Found]  # by folder, sorted
    others: tuple[str, ...]  # paths outside of any artifact's folder: records, publications


def contents_of(entries: Iterable[Listed]) -> Contents:
    """Group the objects of a whole store by artifact folder."""
    groups: dict[str, list[Listed]] = defaultdict(list)
    others: list[str] = []
    for entry in entries:
        kind, _, rest = entry.path.partition("/")
        name, _, inside = rest.partition("/")
        folder = f"{kind}/{name}"
        if inside and (folder in groups or Address.parse(folder) is not None):
            groups[folder].append(Listed(inside, entry.bytes, entry.stamp))
        else:
            others.append(entry.path)
    return Contents({folder: _found(inside) for folder, inside in sorted(groups.items())}, tuple(others))


def extent_path(folder: str, manifest: Manifest) -> str:
    """The object of an artifact whose name says how much there must be."""
    return f"{folder}/extent/{manifest.attempt}-{len(manifest.files)}-{manifest.total_bytes}"


def _found(entries: list[Listed]) -> Found:
    names = {entry.path for entry in entries}
    committed = "manifest.json" in names
    whole = _whole_attempt(entries) if committed else None
    return Found(
        committed=committed,
        damaged=committed and ("damaged.json" in names or whole is None),
        checkpoint_step=newest_declared_step(
            [name.removeprefix("progress/") for name in names if name.startswith("progress/")]
        ),
        leased="lease.json" in names,
        bytes=sum(entry.bytes for entry in entries if entry.path.startswith("files/")) if committed else 0,
        files=whole or {},
    )


def _whole_attempt(entries: list[Listed]) -> Mapping[str, int] | None:
    """Sizes of the files of one declared attempt that are all there; without a declaration, of any attempt's."""
    attempts: dict[str, dict[str, int]] = defaultdict(dict)
    for entry in entries:
        if entry.path.startswith("files/"):
            _, attempt, path = entry.path.split("/", 2)
            attempts[attempt][path] = entry.bytes
    declared = [found for entry in entries if (found := EXTENT.fullmatch(entry.path))]
    if not declared:
        return next(iter(attempts.values()), None)
    for extent in declared:
        sizes = attempts[extent["attempt"]]
        if (len(sizes), sum(sizes.values())) == (int(extent["files"]), int(extent["bytes"])):
            return sizes
    return None
