"""What a store holds, told from the names of one listing: no object is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from artifacts.address import Address
from artifacts.progress import newest_declared_step


@dataclass(frozen=True)
class Found:
    """One artifact's folder."""

    committed: bool = False  # it has a manifest
    damaged: bool = False  # and a reader found it damaged
    checkpoint_step: int | None = None  # newest declared checkpoint
    leased: bool = False  # a lease was taken some time; `Store.holder_of` says whether it is held now


def survey_of(paths: Iterable[str]) -> dict[str, Found]:
    """Group the store's paths by artifact folder."""
    groups: Mapping[str, list[str]] = defaultdict(list)
    for path in paths:
        kind, _, rest = path.partition("/")
        name, _, inside = rest.partition("/")
        if inside and Address.parse(f"{kind}/{name}") is not None:
            groups[f"{kind}/{name}"].append(inside)
    return {folder: _found(inside) for folder, inside in sorted(groups.items())}


def _found(paths: list[str]) -> Found:
    names = set(paths)
    return Found(
        committed="manifest.json" in names,
        damaged="manifest.json" in names and "damaged.json" in names,
        checkpoint_step=newest_declared_step(
            [path.removeprefix("progress/") for path in paths if path.startswith("progress/")]
        ),
        leased="lease.json" in names,
    )
