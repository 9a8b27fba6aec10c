"""From some artifacts to all that they were made from, through the inputs that manifests name.

An artifact is reached whole: everything behind it too, whether or not all of it still exists. One whose manifest
cannot be read is reached, but what it was made from is unknown: then nothing may be called unreachable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from artifacts.address import Address
from artifacts.errors import ArtifactDamaged
from artifacts.garbage.census import Census
from artifacts.manifest import Manifest
from artifacts.transfer import at_once


@dataclass(frozen=True, kw_only=True)
class Closure:
    """What is reached."""

    folders: Mapping[str, str]  # folder -> what reached it first, in the words given with the root
    unknown: tuple[str, ...]  # folders among them whose needs are not known


def closure(roots: Mapping[str, str], census: Census, read: Callable[[Address], Manifest | None]) -> Closure:
    """Everything behind the folders `roots`, which say for whom they are kept.

    `read` returns a manifest, None where there is none, and raises `ArtifactDamaged` for one that cannot be read.
    """
    reached, unknown = dict(roots), []
    pending = list(roots)
    while pending:
        committed = [folder for folder in pending if folder in census.holdings and census.holdings[folder].committed]
        pending = []
        for folder, needs in zip(committed, at_once(lambda one: _needs(one, census, read), committed), strict=True):
            if needs is None:
                unknown.append(folder)
                continue
            for need in needs:
                if need not in reached:
                    reached[need] = reached[folder]
                    pending.append(need)
    return Closure(folders=reached, unknown=tuple(unknown))


def needs_of(manifest: Manifest) -> list[str]:
    """Keys of everything that an artifact was made from, what it only observed included."""
    observed = manifest.provenance.get("observed", {})
    return [*manifest.inputs.values(), *(observed.values() if isinstance(observed, dict) else ())]


def _needs(folder: str, census: Census, read: Callable[[Address], Manifest | None]) -> Iterable[str] | None:
    try:
        manifest = read(census.holdings[folder].address)
    except ArtifactDamaged:
        return None
    keys = [] if manifest is None else needs_of(manifest)
    return [need for key in keys for need in census.with_key(key)]
