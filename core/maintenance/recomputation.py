"""Is what a training stage left still what it makes? Chooses a small one, and compares what it makes now.

In one numerics domain (device, torch, ranks, threads, micro-batch, attention kernel) the weights, the optimizer state,
the model's description and the loss trace must be the same bytes. In another one nobody promises bytes: there the
losses must agree step by step within `LOSS_TOLERANCE`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts.errors import ArtifactDamaged
from artifacts.manifest import Manifest
from artifacts.store import Found, Store
from artifacts.transfer import at_once, sha256_of
from core.planning.catalogue import resolved_stages
from core.planning.cost import stage_cost
from core.planning.progress import Survey
from core.planning.stage import Stage
from core.planning.stream_length import measured_by, packed_in
from core.recipes.table import recipes
from core.stages.identity import FinetuneIdentity, TrainingIdentity

LOSSES = "loss.jsonl"
COMPARED = ("model.safetensors", "optimizer.safetensors", "state.json", LOSSES)
DOMAIN_METRICS = ("micro_batch_rows", "attention")  # of the domain too, though a stage counts them as its metrics
LOSS_TOLERANCE = 0.05  # relative, at each step
SLOW_FLOPS = 1e10  # a second, of a processor that stands in for a GPU


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A stage that could be made again."""

    stage: Stage
    manifest: Manifest
    seconds: float  # that it is expected to take

    @property
    def numerics(self) -> Mapping[str, Any]:
        """The domain in which it was made."""
        found = self.manifest.provenance.get("numerics")
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came of it; `differences` is empty when all is well."""

    folder: str
    same_domain: bool  # if so bytes were compared, else losses
    compared: str  # what was compared, in words
    differences: tuple[str, ...]  # one line each, naming the stage, the file, and both values


def candidates(store: Store, gpus: int, seconds: float) -> list[Candidate]:
    """The committed training stages of all recipes whose inputs are there, expected to take at most `seconds` here."""
    survey = store.survey()
    stages = list(_committed(survey))
    manifests = at_once(lambda stage: _manifest(store, stage), stages)
    found = (
        Candidate(stage=stage, manifest=manifest, seconds=_expected_seconds(stage, manifest, gpus))
        for stage, manifest in zip(stages, manifests, strict=True)
        if manifest is not None
    )
    return [candidate for candidate in found if candidate.seconds <= seconds]


def choose(found: Sequence[Candidate], seed: int) -> Candidate | None:
    """One of them; the same for the same seed and the same store. None of none."""
    ordered = sorted(found, key=lambda candidate: candidate.stage.key)
    return random.Random(seed).choice(ordered) if ordered else None


def compare(
    candidate: Candidate, output: Path, numerics: Mapping[str, object], metrics: Mapping[str, object], losses: bytes
) -> Comparison:
    """Hold what was made into the folder `output` against the artifact; `losses` is the artifact's loss trace."""
    made = {file.path: file.sha256 for file in candidate.manifest.files}
    was, now = (
        {**domain, **{name: counted.get(name) for name in DOMAIN_METRICS}}
        for domain, counted in ((candidate.numerics, candidate.manifest.metrics), (numerics, metrics))
    )
    folder = candidate.stage.address.folder
    if was == now:
        names = [name for name in COMPARED if name in made]
        found = {name: sha256_of(output / name) if (output / name).exists() else "nothing" for name in names}
        differences = tuple(
            f"{folder}: {name} has sha256 {made[name]} in the store, made again it has {found[name]}"
            for name in names
            if found[name] != made[name]
        )
        compared = f"the bytes of {', '.join(names)}"
        return Comparison(folder=folder, same_domain=True, compared=compared, differences=differences)
    apart = ", ".join(f"{name} {was.get(name)!r} then, {now.get(name)!r} now" for name in _apart(was, now))
    return Comparison(
        folder=folder,
        same_domain=False,
        compared=f"losses within {LOSS_TOLERANCE:.0%}, not bytes: another numerics domain ({apart})",
        differences=_loss_differences(folder, losses, (output / LOSSES).read_bytes()),
    )


def _committed(survey: Survey) -> Iterator[Stage]:
    """Each training stage whose artifact and needs are there, once."""
    resolve, seen = measured_by(packed_in(survey)), set[str]()

    def is_there(stage: Stage) -> bool:
        found = survey.get(stage.address.folder, Found())
        return found.committed and not found.damaged

    for tag in recipes():
        for stage in resolved_stages(tag, resolve).values():
            if stage.key in seen or not isinstance(stage.identity, TrainingIdentity | FinetuneIdentity):
                continue
            seen.add(stage.key)
            if all(map(is_there, (stage, *stage.needs.values()))):
                yield stage


def _manifest(store: Store, stage: Stage) -> Manifest | None:
    """None for one that cannot be read: that is for the verification to tell."""
    try:
        return store.manifest(stage.address)
    except ArtifactDamaged:
        return None


def _expected_seconds(stage: Stage, manifest: Manifest, gpus: int) -> float:
    """By its own count where there is a device of its sort here; else by its operations, on slow processors."""
    numerics, counted = manifest.provenance.get("numerics"), manifest.metrics.get("device_seconds")
    on_processor = isinstance(numerics, dict) and numerics.get("device") == "cpu"
    if (on_processor or gpus) and isinstance(counted, (int, float)):
        return float(counted)
    return stage_cost(stage).flops / SLOW_FLOPS


def _apart(was: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    return [name for name in dict.fromkeys([*was, *now]) if was.get(name) != now.get(name)]


def _loss_differences(folder: str, was: bytes, now: bytes) -> tuple[str, ...]:
    before, after = _losses(was), _losses(now)
    if before.keys() != after.keys():
        return (f"{folder}: {LOSSES} has {len(before)} steps in the store, made again it has {len(after)}",)
    for step, loss in before.items():
        if abs(after[step] - loss) > LOSS_TOLERANCE * abs(loss):
            return (f"{folder}: {LOSSES} has loss {loss} at step {step} in the store, made again {after[step]}",)
    return ()


def _losses(lines: bytes) -> dict[int, float]:
    records = [json.loads(line) for line in lines.splitlines()]
    return {record["step"]: record["loss"] for record in records}
