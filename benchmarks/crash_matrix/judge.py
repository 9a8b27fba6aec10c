"""What must hold after every case, told from the trace of its processes and from the store they left behind.

Each function returns what is wrong, one line each; nothing when the invariant holds.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from artifacts.address import Address
from artifacts.manifest import Manifest
from artifacts.store import Store
from benchmarks.crash_matrix.trace import Event

PLACE = re.compile(r"(?P<step>\d+)-(?P<token>\d+)/checkpoint\.json$")
TRAINING = ("pretrain", "recalibrate", "sft", "long_sft")
WEIGHTS = "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A case that is over."""

    trace: Sequence[Event]
    store: Store
    before: Mapping[str, str]  # artifact folder -> sha256 of its manifest, before the case
    undisturbed: Mapping[str, str]  # artifact folder -> sha256 of its weights, of a run that nothing happened to


def violations(evidence: Evidence) -> list[str]:
    """Everything that does not hold."""
    return [
        *commits_twice(evidence.trace),
        *double_runs(evidence.trace),
        *acts_after_loss(evidence.trace),
        *restarts(evidence.trace),
        *removals_of_reachable(evidence.trace),
        *changed_manifests(evidence),
        *damages(evidence.store),
        *different_weights(evidence),
        *held_leases(evidence.store),
    ]


def commits_twice(trace: Iterable[Event]) -> list[str]:
    """At most one manifest per key was ever created."""
    counts = Counter(event.folder for event in trace if event.what == "commit")
    return [f"{folder} was committed {count} times" for folder, count in counts.items() if count > 1]


def double_runs(trace: Iterable[Event]) -> list[str]:
    """While a rank lives, its lease is acquired by nobody else before it expires."""
    return [
        f"{event.folder}: token {event.details['token']} was acquired while ranks {event.details['alive']} lived"
        for event in trace
        if event.what == "acquired"
        and event.details["alive"]
        and (event.details["released"] or event.wall < event.details["expires_at"])
    ]


def acts_after_loss(trace: Iterable[Event]) -> list[str]:
    """Who has lost its lease to another does not commit."""
    found, holders = [], dict[str, int]()
    for event in trace:
        if event.what == "acquired":
            holders[event.folder] = event.run
        if event.what == "commit" and event.run != holders.get(event.folder, event.run):
            found.append(f"{event.folder} was committed by a run that had lost its lease")
    return found


def restarts(trace: Iterable[Event]) -> list[str]:
    """A training process goes on from the newest checkpoint that was declared before it looked."""
    found, newest = [], dict[str, int]()
    begun: dict[int, tuple[str, int, int]] = {}  # rank that has read no checkpoint yet -> folder, token, saved step
    for event in trace:
        anew: list[int] = []
        if event.what == "checkpoint":
            newest[event.folder] = max(step_of(event), newest.get(event.folder, 0))
            anew = [event.process]
        elif event.what == "rank" and event.folder in newest:
            begun[event.process] = (event.folder, event.details["token"], newest[event.folder])
        elif event.what == "continues" and event.process in begun:
            folder, _, saved = begun.pop(event.process)
            if step_of(event) < saved:
                found.append(f"{folder} went on from step {step_of(event)} although step {saved} was saved")
        elif event.what == "commit":
            made_by = (event.folder, int(event.details["attempt"].partition("-")[0]))
            anew = [process for process, (folder, token, _) in begun.items() if (folder, token) == made_by]
        for process in anew:
            if process in begun:
                found.append(f"{event.folder} was begun anew although step {begun.pop(process)[2]} was saved")
    return found


def step_of(event: Event) -> int:
    """The step of a checkpoint that an event is about."""
    place = PLACE.search(event.details["path"])
    assert place is not None, event
    return int(place["step"])


def removals_of_reachable(trace: Iterable[Event]) -> list[str]:
    """Nothing of a committed attempt is removed, and no checkpoint that an unfinished stage would go on from."""
    found, committed = [], dict[str, str]()
    declared: dict[str, set[tuple[int, int]]] = {}
    for event in trace:
        places = declared.setdefault(event.folder, set())
        if event.what == "commit":
            committed[event.folder] = event.details["attempt"]
        elif event.what == "checkpoint":
            places.add(_place(event.details["path"]))
        elif event.what == "removed":
            path = event.details["path"]
            attempt = committed.get(event.folder)
            if attempt is not None and path.startswith((f"{event.folder}/files/{attempt}", f"{event.folder}/manifest")):
                found.append(f"{path} was removed after its commit")
            if attempt is None and PLACE.search(path):
                place = _place(path)
                if places and place == max(places):
                    found.append(f"{path} was removed, the newest checkpoint of an unfinished stage")
                places.discard(place)
    return found


def _place(path: str) -> tuple[int, int]:
    place = PLACE.search(path)
    assert place is not None, path
    return int(place["step"]), int(place["token"])


def changed_manifests(evidence: Evidence) -> list[str]:
    """What was committed before the case is as it was."""
    now = manifests(evidence.store)
    return [f"{folder}: its manifest changed" for folder, sha in evidence.before.items() if now.get(folder) != sha]


def damages(store: Store) -> list[str]:
    """Every committed manifest verifies, byte by byte."""
    return [str(damage) for address in store.addresses() for damage in store.verify(address)]


def different_weights(evidence: Evidence) -> list[str]:
    """The weights of every training stage are those of an undisturbed run."""
    now = weights(evidence.store)
    return [
        f"{folder}: {'its weights differ from' if folder in now else 'it does not exist, unlike in'} an undisturbed run"
        for folder, sha in evidence.undisturbed.items()
        if now.get(folder) != sha
    ]


def held_leases(store: Store) -> list[str]:
    """Every lease is released, expired, or its holders are dead."""
    addresses = [Address.parse(folder) for folder, found in store.survey().items() if found.leased]
    held = [(address, store.holder_of(address)) for address in addresses if address is not None]
    return [f"{address}: still leased by {holder.description}" for address, holder in held if holder is not None]


def manifests(store: Store) -> dict[str, str]:
    """sha256 of every committed manifest, by artifact folder."""
    found = [(address, store.manifest(address)) for address in store.addresses()]
    return {
        address.folder: hashlib.sha256(manifest.encode()).hexdigest()
        for address, manifest in found
        if manifest is not None
    }


def weights(store: Store) -> dict[str, str]:
    """sha256 of the weights that every committed training stage has, by artifact folder."""
    return {
        address.folder: _weights_of(manifest)
        for address in store.addresses()
        if address.kind in TRAINING and (manifest := store.manifest(address)) is not None
    }


def _weights_of(manifest: Manifest) -> str:
    return next(file.sha256 for file in manifest.files if file.path == WEIGHTS)
