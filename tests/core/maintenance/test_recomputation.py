"""Which stage is made again, and when what it makes differs from what it made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from committing import commit_files

from artifacts.manifest import Manifest
from artifacts.store import Store
from core.maintenance.recomputation import COMPARED, Candidate, candidates, choose, compare
from core.planning.catalogue import stages_of
from core.planning.stage import Stage
from core.stages.kind import StageKind

DOMAIN = {"device": "cpu", "torch": "2.13", "world_size": 1, "threads": 2}
COUNTED = {"micro_batch_rows": 8, "attention": "flash"}
LOSSES = [4.0, 3.0]


def trace(losses: list[float]) -> bytes:
    return b"".join(json.dumps({"step": step, "loss": loss}).encode() + b"\n" for step, loss in enumerate(losses))


def output(folder: Path, losses: list[float], weights: bytes = b"weights") -> Path:
    folder.mkdir()
    for name in COMPARED:
        (folder / name).write_bytes(trace(losses) if name == "loss.jsonl" else weights)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"), tmp_path / "cache")


def commit_as(store: Store, stage: Stage, folder: Path, seconds: float, **numerics: Any) -> Manifest:
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    provenance = {"numerics": {**DOMAIN, **numerics}}
    return commit_files(store, stage, files, provenance, device_seconds=seconds, **COUNTED)


@pytest.fixture
def candidate(store: Store, tmp_path: Path) -> Candidate:
    """The first segment of `tiny`, committed."""
    stage = next(stage for stage in stages_of("tiny").values() if stage.kind is StageKind.PRETRAIN)
    manifest = commit_as(store, stage, output(tmp_path / "made", LOSSES), 10.0)
    return Candidate(stage=stage, manifest=manifest, seconds=10.0)


def test_in_the_same_domain_the_same_bytes_are_equal_and_one_byte_is_a_difference_that_names_both_hashes(
    candidate: Candidate, tmp_path: Path
) -> None:
    same = compare(candidate, output(tmp_path / "same", LOSSES), DOMAIN, COUNTED, trace(LOSSES))
    assert (same.same_domain, same.differences) == (True, ())
    other = compare(candidate, output(tmp_path / "other", LOSSES, b"weightz"), DOMAIN, COUNTED, trace(LOSSES))
    model = next(line for line in other.differences if "model.safetensors" in line)
    made = {file.path: file.sha256 for file in candidate.manifest.files}
    assert candidate.stage.address.folder in model
    assert f"has sha256 {made['model.safetensors']} in the store, made again it has " in model
    assert len(other.differences) == 3, "the losses are the same"


def test_a_file_that_is_not_made_any_more_is_a_difference(candidate: Candidate, tmp_path: Path) -> None:
    folder = output(tmp_path / "less", LOSSES)
    (folder / "optimizer.safetensors").unlink()
    (difference,) = compare(candidate, folder, DOMAIN, COUNTED, trace(LOSSES)).differences
    assert difference.endswith("made again it has nothing")


@pytest.mark.parametrize(
    ("losses", "differs"),
    [([4.1, 3.1], ""), ([4.0, 3.3], "loss 3.0 at step 1 in the store, made again 3.3"), ([4.0], "has 2 steps")],
)
def test_in_another_domain_the_losses_decide(
    candidate: Candidate, tmp_path: Path, losses: list[float], differs: str
) -> None:
    elsewhere = output(tmp_path / "elsewhere", losses, b"other weights")
    found = compare(candidate, elsewhere, {**DOMAIN, "threads": 4}, COUNTED, trace(LOSSES))
    assert not found.same_domain
    assert "losses within 5%, not bytes: another numerics domain (threads 2 then, 4 now)" in found.compared
    assert bool(found.differences) == bool(differs)
    assert all(differs in line for line in found.differences)


def test_candidates_are_small_committed_stages_whose_inputs_are_there(store: Store, tmp_path: Path) -> None:
    made = output(tmp_path / "made", LOSSES)
    segments = [stage for stage in stages_of("tiny").values() if stage.kind is StageKind.PRETRAIN]
    needs = {need.key: need for stage in segments for need in stage.needs.values() if need not in segments}
    for need in needs.values():
        commit_files(store, need, {"rows.bin": b"rows" * 1_000_000}, rows=4000)
    for stage, seconds in zip(segments, (10.0, 20.0, 9e9), strict=False):
        commit_as(store, stage, made, seconds)
    assert [found.stage.key for found in candidates(store, 0, 60.0)] == [stage.key for stage in segments[:2]]
    assert candidates(store, 0, 5.0) == []


def test_what_a_gpu_made_is_made_again_by_processors_only_if_they_can(store: Store, tmp_path: Path) -> None:
    segment = next(stage for stage in stages_of("tiny").values() if stage.kind is StageKind.PRETRAIN)
    for need in segment.needs.values():
        commit_files(store, need, {"rows.bin": b"rows" * 1_000_000}, rows=4000)
    commit_as(store, segment, output(tmp_path / "made", LOSSES), 10.0, device="NVIDIA H100")
    assert len(candidates(store, 1, 60.0)) == 1
    assert candidates(store, 0, 10.0) == []
    assert len(candidates(store, 0, 1e6)) == 1


def test_the_choice_is_the_same_for_the_same_seed(candidate: Candidate) -> None:
    found = [
        Candidate(stage=stage, manifest=candidate.manifest, seconds=1.0)
        for stage in stages_of("tiny_drope_50").values()
    ]
    chosen = [choose(found, seed) for seed in range(20)]
    assert chosen == [choose(found[::-1], seed) for seed in range(20)]
    assert len({one.stage.key for one in chosen if one is not None}) > 5
    assert choose([], 1) is None
