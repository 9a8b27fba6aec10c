"""Why a stage has another key than an artifact of its name: followed through the inputs to the fields that changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from artifacts.address import KEY_PREFIX, Address
from artifacts.errors import ArtifactDamaged
from artifacts.manifest import Manifest
from artifacts.store import Store
from core.planning.fields import ABSENT, FieldChange, changes, written
from core.planning.progress import Survey
from core.planning.stage import Stage
from core.planning.title import title
from core.stages.streamed import GROUP

HORIZON = frozenset({"steps", "batch_tokens"})
CUTS = frozenset({"first_step", "end_step"})  # fixed fractions of `steps`


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One difference, and the stage in which it lies."""

    stage: Stage
    change: FieldChange

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What makes it the same cause when it is found again, in the next segment of a trunk for example."""
        change = self.change
        return type(self.stage.identity).__name__, change.field, repr(change.before), repr(change.after)

    def __str__(self) -> str:
        change = self.change
        return f"{change.field} of `{title(self.stage)}` ({written(change.before)} -> {written(change.after)})"

    def listing(self) -> dict[str, object]:
        """The JSON shape; a side that does not have the field is null."""
        before, after = self.change.before, self.change.after
        return {
            "stage": title(self.stage),
            "key": self.stage.key,
            "field": self.change.field,
            "before": None if before is ABSENT else before,
            "after": None if after is ABSENT else after,
        }


class Manifests:
    """Manifests of a store, each read once; found by the part of a key that its folder shows."""

    def __init__(self, store: Store, survey: Survey) -> None:
        self._store = store
        self._read: dict[str, Manifest | None] = {}
        found = [Address.parse(folder) for folder, found in survey.items() if found.committed]
        self._addresses = {address.key: address for address in found if address is not None}

    def read(self, address: Address) -> Manifest | None:
        """The manifest, or None where there is none or it cannot be read (`miniseries verify` tells)."""
        if address.folder not in self._read:
            try:
                self._read[address.folder] = self._store.manifest(address)
            except ArtifactDamaged:
                self._read[address.folder] = None
        return self._read[address.folder]

    def of_key(self, key: str) -> Manifest | None:
        """The manifest of the artifact with this key, wherever it is."""
        address = self._addresses.get(key[:KEY_PREFIX])
        return None if address is None else self.read(address)


def causes_of(stage: Stage, earlier: Manifest, manifests: Manifests) -> list[Cause]:
    """What changed from `earlier` to `stage`, each difference once, those of the inputs before its own.

    One key under two names is a cause of its own: an artifact is looked for under the name that its recipe gives.
    """
    if stage.key == earlier.key:
        return [_cause(stage, "name of the artifact", earlier.name, stage.name)]
    return distinct(_causes(stage, earlier, manifests, set()))


def distinct(causes: Iterable[Cause]) -> list[Cause]:
    """Each difference where it was met first."""
    first: dict[tuple[str, str, str, str], Cause] = {}
    for cause in causes:
        first.setdefault(cause.identity, cause)
    return list(first.values())


def _causes(stage: Stage, earlier: Manifest, manifests: Manifests, seen: set[tuple[str, str]]) -> Iterator[Cause]:
    if (stage.key, earlier.key) in seen:
        return
    seen.add((stage.key, earlier.key))
    own = changes(earlier.identity, stage.identity)
    moved = {change.field for change in own}
    for role in dict.fromkeys([*earlier.inputs, *stage.inputs]):
        key, need = earlier.inputs.get(role), stage.inputs.get(role)
        if key is not None and need is not None:
            yield from _causes_of_input(stage, role, key, need, manifests, seen)
        elif not role.startswith(GROUP):  # of earlier versions, in which every group was an input
            yield _cause(stage, f"input {role}", _short(key), ABSENT if need is None else need.address.folder)
    if stage.definition.version != earlier.stage_version:
        yield _cause(stage, "version of the stage kind", earlier.stage_version, stage.definition.version)
    for change in own:
        if change.field not in CUTS or not moved & HORIZON:
            yield Cause(stage=stage, change=change)


def _causes_of_input(
    stage: Stage, role: str, key: str, need: Stage, manifests: Manifests, seen: set[tuple[str, str]]
) -> Iterator[Cause]:
    if need.key == key:
        return
    manifest = manifests.of_key(key)
    if manifest is None:
        yield _cause(stage, f"input {role}", f"{_short(key)}, no longer in the store", need.address.folder)
    else:
        yield from _causes(need, manifest, manifests, seen)


def _short(key: str | None) -> object:
    return ABSENT if key is None else key[:KEY_PREFIX]


def _cause(stage: Stage, field: str, before: object, after: object) -> Cause:
    return Cause(stage=stage, change=FieldChange(field=field, before=before, after=after))
