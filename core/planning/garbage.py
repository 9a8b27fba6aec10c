"""What could be collected: unreachable artifacts with size, age, cost, and why nothing reaches them; and leftovers.

One listing, and every manifest; no artifact is read. What cannot be judged is left alone, and listed with the reason:
an unreadable manifest, a kind or a version of a newer miniseries.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache

from artifacts.address import KEY_PREFIX, Address
from artifacts.errors import ArtifactDamaged, StoreError
from artifacts.garbage.census import Census, Holding, leftovers, names_of
from artifacts.garbage.tombstone import Tombstone, What
from artifacts.manifest import Manifest
from artifacts.store import Found, Store
from artifacts.transfer import at_once
from core.planning.actual import measured_gpu_hours
from core.planning.catalogue import stages_of
from core.planning.causes import Manifests, causes_of
from core.planning.reachable import Reach, Read, reach_of
from core.planning.revision import nearest, subject_of
from core.planning.stage import Stage
from core.recipes.table import recipes
from core.stages.kind import DEFINITIONS, StageKind


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """One thing that could be collected."""

    address: Address  # its key is whole where a manifest tells it
    what: What
    bytes: int
    age: float | None  # seconds since it was finished, or since somebody last worked on it; None: not known
    gpu_hours: float | None  # that it took; None: not known
    reason: str  # why nothing reaches it
    names: frozenset[str]  # attempts and checkpoints that go
    marked: float | None = None  # when it was marked, seconds since the epoch; None: it is not

    def tombstone(self, now: float) -> Tombstone:
        """The mark."""
        return Tombstone(folder=self.address.folder, what=self.what, seen=tuple(sorted(self.names)), marked=now)

    def listing(self) -> dict[str, object]:
        """The JSON shape."""
        return {
            "path": self.address.folder,
            "kind": self.address.kind,
            "name": self.address.name,
            "key": self.address.key,
            "what": self.what,
            "bytes": self.bytes,
            "age_seconds": self.age,
            "gpu_hours": self.gpu_hours,
            "reason": self.reason,
            "marked": self.marked,
        }


@dataclass(frozen=True, kw_only=True)
class LeftAlone:
    """What cannot be judged, and so is not touched."""

    folder: str
    why: str


@dataclass(frozen=True, kw_only=True)
class GarbageSurvey:
    """Everything that there is to say about a store's garbage at one moment."""

    garbage: tuple[Garbage, ...]  # by folder
    left_alone: tuple[LeftAlone, ...]
    stones: Mapping[str, Tombstone]  # all that there are, by folder
    unknown: tuple[str, ...]  # reached, but what they need is not known: nothing may be collected

    @property
    def void(self) -> tuple[str, ...]:
        """Folders whose tombstone no longer holds: they are reached again, were worked on, or are gone."""
        marked = {found.address.folder for found in self.garbage if found.marked is not None}
        return tuple(folder for folder in self.stones if folder not in marked)

    def unmarked(self) -> tuple[Garbage, ...]:
        """What was not marked before."""
        return tuple(found for found in self.garbage if found.marked is None)

    def expired(self, now: float, window: float) -> tuple[Garbage, ...]:
        """What was marked at least `window` seconds ago."""
        return tuple(found for found in self.garbage if found.marked is not None and now - found.marked >= window)

    def require_known(self) -> None:
        """Raise `StoreError` when something might be needed without our knowing."""
        if self.unknown:
            more = f" (and {len(self.unknown) - 1} more)" if len(self.unknown) > 1 else ""
            raise StoreError(
                f"the manifest of {self.unknown[0]}{more} cannot be read, so what it was made from is not known and "
                "nothing is collected; bring it back from a copy, or remove its manifest.json to give it up"
            )


def survey_garbage(store: Store, now: float) -> GarbageSurvey:
    """Look at all of a store; `now` is seconds since the epoch. Raises `StoreError`."""
    census = store.census()
    stones = store.trash.tombstones()
    read = cache(store.peek)
    reach = reach_of(store, census, read, now)
    judge = _Judge(store, census, read, reach, now)
    verdicts = at_once(judge.judge, census.holdings.values())
    found = [verdict for verdict in verdicts if isinstance(verdict, Garbage)]
    return GarbageSurvey(
        garbage=tuple(_marked(one, stones.get(one.address.folder)) for one in found),
        left_alone=tuple(verdict for verdict in verdicts if isinstance(verdict, LeftAlone)),
        stones=stones,
        unknown=reach.unknown,
    )


class _Judge:
    """Says of each folder whether it is garbage."""

    def __init__(self, store: Store, census: Census, read: Read, reach: Reach, now: float) -> None:
        self._store = store
        self._read = read
        self._reach = reach
        self._now = now
        self._manifests = Manifests(store, {folder: Found(committed=True) for folder in _committed(census)})
        self._stages = {stage.key: stage for tag in recipes() for stage in stages_of(tag).values()}
        self._places: dict[tuple[str, str], list[Stage]] = defaultdict(list)
        for stage in self._stages.values():
            self._places[subject_of(stage.kind.value, stage.name)].append(stage)

    def judge(self, holding: Holding) -> Garbage | LeftAlone | None:
        """None: it is in use, or nothing is in it."""
        address, folder = holding.address, holding.address.folder
        try:
            manifest = self._read(address) if holding.committed else None
        except ArtifactDamaged as error:
            return LeftAlone(folder=folder, why=str(error.damages[0]))
        if folder in self._reach.folders:
            return self._leftovers(holding, manifest)
        if not holding.objects:
            return None
        if address.kind not in DEFINITIONS:
            return LeftAlone(folder=folder, why="of a kind that this version of miniseries does not know")
        if manifest is None:
            return self._unfinished(holding)
        if manifest.stage_version > DEFINITIONS[StageKind(manifest.kind)].version:
            return LeftAlone(folder=folder, why=f"made by a newer miniseries (version {manifest.stage_version})")
        return self._artifact(holding, manifest)

    def _artifact(self, holding: Holding, manifest: Manifest) -> Garbage:
        finished = manifest.provenance.get("finished")
        return Garbage(
            address=Address(manifest.kind, manifest.name, manifest.key),
            what="artifact",
            bytes=holding.bytes,
            age=max(0.0, self._now - finished) if isinstance(finished, (int, float)) else None,
            gpu_hours=measured_gpu_hours(manifest),
            reason=self._reason(manifest),
            names=holding.names,
        )

    def _unfinished(self, holding: Holding) -> Garbage:
        like = self._stage_like(holding.address)
        return Garbage(
            address=holding.address,
            what="unfinished",
            bytes=holding.bytes,
            age=self._age_of_lease(holding),
            gpu_hours=None,
            reason=f"never finished; {_NO_ONE if like is None else _earlier(like)}",
            names=holding.names,
        )

    def _leftovers(self, holding: Holding, manifest: Manifest | None) -> Garbage | None:
        """In a folder that is reached: None also while somebody is making it."""
        left = leftovers(holding.objects, None if manifest is None else manifest.attempt)
        if not left or (holding.leased and self._store.holder_of(holding.address) is not None):
            return None
        kinds = {found.path.partition("/")[0] for found in left}
        whats = [*(["attempts that were never committed"] if kinds - {"progress"} else [])]
        whats += ["checkpoints of a stage that is committed"] if "progress" in kinds else []
        return Garbage(
            address=holding.address,
            what="leftovers",
            bytes=sum(found.bytes for found in left),
            age=self._age_of_lease(holding),
            gpu_hours=None,
            reason=" and ".join(whats),
            names=names_of(left),
        )

    def _reason(self, manifest: Manifest) -> str:
        if (renamed := self._stages.get(manifest.key)) is not None:
            return f"the same stage is called {renamed.name} now"
        like = self._stage_like(Address(manifest.kind, manifest.name, manifest.key))
        if like is None:
            return _NO_ONE
        causes = causes_of(like, manifest, self._manifests)
        if not causes:
            return _earlier(like)
        more = f" and {len(causes) - 1} more changes" if len(causes) > 1 else ""
        return f"of an earlier recipe or version: {causes[0]}{more}"

    def _stage_like(self, address: Address) -> Stage | None:
        """The stage that recipes make in its place."""
        stages = self._places.get(subject_of(address.kind, address.name))
        return nearest(address, stages) if stages else None

    def _age_of_lease(self, holding: Holding) -> float | None:
        held = self._store.leases.last_held(holding.address) if holding.leased else None
        return None if held is None else max(0.0, self._now - held)


_NO_ONE = "no recipe, publication or adopted model of that name (of a series that was not named?)"


def _earlier(now: Stage) -> str:
    return f"of an earlier recipe or version: the key is {now.key[:KEY_PREFIX]} now"


def _committed(census: Census) -> Iterable[str]:
    return (folder for folder, holding in census.holdings.items() if holding.committed)


def _marked(found: Garbage, stone: Tombstone | None) -> Garbage:
    """With the time of its mark, if there is one and it still holds."""
    if stone is None or stone.what != found.what or not found.names <= set(stone.seen):
        return found
    return replace(found, marked=stone.marked)
