"""Finished work that a changed recipe leaves behind: what it is, which change did it, how many GPU-hours it took.

The store remembers what was finished: an artifact's folder is `<kind>/<name>-<key>`, and its manifest holds the
identity that the key hashes. A stage that is to be made, while an artifact of the same name lies in the store under a
key that no known tag reaches, was finished by an earlier revision of its recipe (or of the code: a stage version). So
was one with its key under another name: a series was renamed. Only manifests of such artifacts, and of the inputs that
tell why, are read; no artifact bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from artifacts.address import KEY_PREFIX, Address
from artifacts.manifest import Manifest
from artifacts.store import Found, Store
from core.planning.actual import measured_gpu_hours
from core.planning.catalogue import known_folders
from core.planning.causes import Cause, Manifests, causes_of, distinct
from core.planning.cost import stage_cost
from core.planning.progress import Survey, required
from core.planning.stage import Stage
from core.recipes.recipe import RecipeError
from core.stages.kind import StageKind

RETRAIN_HOURS = 1.0  # finished GPU-hours that a run may leave behind without being told so
SEGMENT = re.compile(r"(?P<trunk>.+)-(?P<first>\d{6})-(?P<end>\d{6})")


class RetrainRefused(RecipeError):
    """A run would make finished work again because a recipe changed, and was not told that this is wanted."""


@dataclass(frozen=True, kw_only=True)
class Superseded:
    """A finished artifact of an earlier revision, and the stage that a run would now make in its place."""

    stage: Stage
    earlier: Address  # its key is whole
    gpu_hours: float  # that it took: measured if its manifest says so, else estimated from the stage
    finished: float  # seconds since the epoch
    causes: tuple[Cause, ...]  # what changed, inputs first; empty only for one that nothing tells apart


def superseded(stages: Iterable[Stage], survey: Survey, store: Store) -> list[Superseded]:
    """Finished artifacts that making `stages` would leave behind, in the order of `stages`.

    `stages` are those of one tag or many, needs first; `survey` is `store.survey()`. A stage whose making has begun
    (a lease or a checkpoint under its new key) is left out: that decision has been taken. Of several earlier revisions
    of one name, the last finished counts. Raises `StoreUnavailable`; a manifest that cannot be read is damage.
    """
    stages = list(stages)
    missing = required(stages, survey)
    waiting = [stage for stage in stages if stage.key in missing and not _has_begun(survey.get(stage.address.folder))]
    pairs = list(_candidates(waiting, survey))
    if not pairs:
        return []
    known = known_folders() | {stage.address.folder for stage in stages}
    manifests = Manifests(store, survey)
    newest: dict[tuple[str, str], Superseded] = {}
    for stage, earlier in pairs:
        manifest = None if earlier.folder in known else manifests.read(earlier)
        if manifest is None:
            continue
        found = _superseded(stage, manifest, manifests)
        name = (manifest.kind, manifest.name)
        if name not in newest or found.finished > newest[name].finished:
            newest[name] = found
    order = {stage.key: place for place, stage in enumerate(stages)}
    return sorted(newest.values(), key=lambda found: (order[found.stage.key], found.earlier.name))


def require_accepted(found: Sequence[Superseded], threshold_hours: float = RETRAIN_HOURS) -> None:
    """Raise `RetrainRefused`, in one line, when `found` took more than `threshold_hours` GPU-hours together.

    To be called unless the user gave `--accept-retrain`.
    """
    hours = sum(one.gpu_hours for one in found)
    if hours <= threshold_hours:
        return
    reasons = [str(cause) for cause in causes_together(found)]
    more = f" and {len(reasons) - 3} more changes" if len(reasons) > 3 else ""
    raise RetrainRefused(
        f"{len(found)} finished stages ({hours:,.1f} GPU-hours) would be made again, because of "
        f"{'; '.join(reasons[:3])}{more}. Give --accept-retrain to go on, or take the change back; nothing is deleted"
    )


def causes_together(found: Iterable[Superseded]) -> list[Cause]:
    """The distinct changes behind all of `found`, the first cause first."""
    return distinct(cause for one in found for cause in one.causes)


def superseded_listing(found: Iterable[Superseded]) -> list[dict[str, object]]:
    """The JSON shape: what would be made again, what it took, and why."""
    return [
        {
            "key": one.stage.key,
            "kind": one.stage.kind.value,
            "name": one.stage.name,
            "earlier": one.earlier.key,
            "path": one.earlier.folder,
            "gpu_hours": one.gpu_hours,
            "causes": [cause.listing() for cause in one.causes],
        }
        for one in found
    ]


def nearest(address: Address, stages: Iterable[Stage]) -> Stage:
    """The stage among `stages`, all of the subject of `address`, that begins where it does, or closest to it."""
    return min(stages, key=lambda stage: abs(_first_step(stage.name) - _first_step(address.name)))


def subject_of(kind: str, name: str) -> tuple[str, str]:
    """What an artifact is of, whichever revision made it: steps of a segment move with the horizon, its trunk stays."""
    segment = SEGMENT.fullmatch(name) if kind == StageKind.PRETRAIN else None
    return kind, segment["trunk"] if segment else name


def _superseded(stage: Stage, manifest: Manifest, manifests: Manifests) -> Superseded:
    finished, hours = manifest.provenance.get("finished"), measured_gpu_hours(manifest)
    return Superseded(
        stage=stage,
        earlier=Address(manifest.kind, manifest.name, manifest.key),
        gpu_hours=stage_cost(stage).gpu_hours if hours is None else hours,
        finished=float(finished) if isinstance(finished, (int, float)) else 0.0,
        causes=tuple(causes_of(stage, manifest, manifests)),
    )


def _has_begun(found: Found | None) -> bool:
    return found is not None and (found.committed or found.leased or found.checkpoint_step is not None)


def _candidates(waiting: Sequence[Stage], survey: Survey) -> Iterator[tuple[Stage, Address]]:
    """Pairs of a stage to be made and a finished artifact of its key or of its subject."""
    places: dict[tuple[str, str], list[Stage]] = {}
    for stage in waiting:
        places.setdefault(subject_of(stage.kind.value, stage.name), []).append(stage)
    renamed = {(stage.kind.value, stage.key[:KEY_PREFIX]): stage for stage in waiting}
    if not places:
        return
    for folder, found in survey.items():
        address = Address.parse(folder)
        if address is None or not found.committed or found.damaged:
            continue
        rivals = places.get(subject_of(address.kind, address.name), [])
        if (address.kind, address.key) in renamed:
            yield renamed[address.kind, address.key], address
        elif rivals:
            yield nearest(address, rivals), address


def _first_step(name: str) -> int:
    segment = SEGMENT.fullmatch(name)
    return int(segment["first"]) if segment else 0
