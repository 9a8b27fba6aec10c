"""Which artifacts of a store anybody still has a use for: all others are garbage.

Reached are, with everything that they were made from:
- every stage of every known tag, and every shard group of its corpora, needed now or not; under an earlier name until
  it is made under its own
- what this store has published: of each tag in each place the newest publication
- studies in force (see `core.planning.study`)
- adopted models, and what was exported of them
- what runs under way need, by the records they keep, and what is being made now, by its lease
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from artifacts.address import Address
from artifacts.errors import ArtifactDamaged
from artifacts.garbage.census import Census, Holding
from artifacts.garbage.closure import closure
from artifacts.manifest import Manifest
from artifacts.store import Store
from artifacts.transfer import at_once
from core.planning.catalogue import GROUPS, groups_of_known_corpora, stages_of
from core.planning.stage import Stage
from core.planning.study import study_in_force
from core.recipes.table import recipes
from core.stages.kind import StageKind

EXPORTS = re.compile(r"export_[a-z]+")

Read = Callable[[Address], Manifest | None]


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What is reached: `folders` say by whom. `unknown` are among them, and what they need could not be read."""

    folders: Mapping[str, str]
    unknown: tuple[str, ...]


def reach_of(store: Store, census: Census, read: Read, now: float) -> Reach:
    """What is reached in `store`, of which `census` was taken before; `read` is its `peek`. Raises `StoreError`."""
    known = _known(census)
    roots = {
        **store.running_plans.folders(now),
        **_being_made(store, census, known),
        **_adopted(census, read),
        **_published(census, read),
        **_studies(census, read),
    }
    found = closure(roots, census, lambda address: None if address.folder in known else read(address))
    return Reach(folders={**found.folders, **known}, unknown=found.unknown)


def _known(census: Census) -> dict[str, str]:
    """What the recipe table reaches; complete, so that no manifest need be read for it."""
    known: dict[str, str] = {}
    for tag in recipes():
        for stage in stages_of(tag).values():
            for folder in (stage.address.folder, *_under_other_names(stage, census)):
                known.setdefault(folder, f"recipe {tag}")
    groups = {kind.value for kind in GROUPS}
    if any(found.address.kind in groups for folder, found in census.holdings.items() if folder not in known):
        for stage in groups_of_known_corpora():
            known.setdefault(stage.address.folder, "a corpus of the recipes")
    return known


def _under_other_names(stage: Stage, census: Census) -> tuple[str, ...]:
    """Where the stage is under another name, as long as it is not made under its own: a name can bring it back."""
    own = census.holdings.get(stage.address.folder)
    return () if own is not None and own.committed else census.with_key(stage.key)


def _being_made(store: Store, census: Census, known: Mapping[str, str]) -> dict[str, str]:
    leased = [found.address for folder, found in census.holdings.items() if found.leased and folder not in known]
    holders = at_once(store.holder_of, leased)
    return {
        address.folder: f"held by {holder.description} ({holder.purpose})"
        for address, holder in zip(leased, holders, strict=True)
        if holder is not None
    }


def _adopted(census: Census, read: Read) -> dict[str, str]:
    """Adopted models, and exports whose model is one."""
    found = {held.address.folder: f"adopted model {held.address.name}" for held in _of(census, StageKind.ADOPTED.value)}
    exports = [held for held in census.holdings.values() if EXPORTS.fullmatch(held.address.kind) and held.committed]
    for held, manifest in zip(exports, at_once(lambda one: _readable(read, one.address), exports), strict=True):
        model = None if manifest is None else manifest.inputs.get("model")
        adopted = [folder for folder in census.with_key(model or "") if folder in found]
        if adopted:
            found[held.address.folder] = found[adopted[0]]
    return found


def _published(census: Census, read: Read) -> dict[str, str]:
    """Of each tag, in each place, the newest publication; and any that cannot be read, for who knows what it is."""
    found: dict[str, str] = {}
    newest: dict[tuple[object, ...], tuple[float, str]] = {}
    publications = list(_of(census, StageKind.PUBLISH.value))
    for held, manifest in zip(
        publications, at_once(lambda one: _readable(read, one.address), publications), strict=True
    ):
        folder, finished = held.address.folder, None if manifest is None else manifest.provenance.get("finished")
        if manifest is None or not isinstance(finished, (int, float)) or not isinstance(manifest.identity, dict):
            found[folder] = f"publication of {held.address.name}"
            continue
        place = (held.address.name, manifest.identity.get("namespace"), manifest.identity.get("destination"))
        newest[place] = max(newest.get(place, (0.0, folder)), (float(finished), folder))
    return found | {folder: f"publication of {place[0]}" for place, (_, folder) in newest.items()}


def _studies(census: Census, read: Read) -> dict[str, str]:
    """Those that are what the recipes say now: none of them needs what no recipe reaches."""
    studies = list(_of(census, StageKind.STUDY.value))
    manifests = at_once(lambda one: _readable(read, one.address), studies)
    in_force = (held for held, found in zip(studies, manifests, strict=True) if found and study_in_force(found))
    return {held.address.folder: f"study of {held.address.name}" for held in in_force}


def _of(census: Census, kind: str) -> Iterator[Holding]:
    return (held for held in census.holdings.values() if held.address.kind == kind and held.committed)


def _readable(read: Read, address: Address) -> Manifest | None:
    """The manifest; None for one that cannot be read: whether it is needed, the closure asks again."""
    try:
        return read(address)
    except ArtifactDamaged:
        return None
