"""The lineage of a tag whose stages were committed but never made: real keys and manifests, invented numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from committing import commit_files

from artifacts.store import Store
from core.lineage.ancestry import gather
from core.planning.catalogue import stages_of
from core.planning.stage import Stage
from core.stages.identity import TrainingIdentity
from core.stages.kind import StageKind

REVISION = "0123456789abcdef0123456789abcdef01234567"
PROVENANCE = {
    "revision": REVISION,
    "dirty": False,
    "host": "node-17.example",
    "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
    "numerics": {"device": "NVIDIA H100", "python": "3.11.7", "world_size": 8},
}
TASKS = {
    "smol-smoltalk": "HuggingFaceTB/smol-smoltalk default/train at f73fe857d519ff6ac5af2ea67c4d3834da7b8bcc",
    "spelling-bee": "generated",
}


def committed_publication(store: Store, tag: str, provenance: dict[str, object] | None = None) -> Stage:
    """Commit everything that the publish stage of `tag` needs; return that stage."""
    stages = stages_of(tag).values()
    for stage in stages:
        if stage.kind is not StageKind.PUBLISH and store.manifest(stage.address) is None:
            commit_files(store, stage, _files(stage), {**PROVENANCE, **(provenance or {})}, **_metrics(stage))
    [publish] = [stage for stage in stages if stage.kind is StageKind.PUBLISH]
    return publish


def write_lineage(root: Path, tag: str, provenance: dict[str, object] | None = None) -> Path:
    """The gathered lineage of `tag`, in a folder of its own below `root`."""
    store = Store.open(f"file://{root / 'store'}")
    folder = root / "lineage"
    folder.mkdir(parents=True)
    gather(committed_publication(store, tag, provenance), store, folder)
    return folder


def _files(stage: Stage) -> dict[str, bytes]:
    if stage.kind in (StageKind.PRETRAIN, StageKind.RECALIBRATE):
        assert isinstance(stage.identity, TrainingIdentity)
        first, end = stage.identity.first_step, stage.identity.end_step
        measured = range(first, end + 1, 10) if stage.kind is StageKind.RECALIBRATE else [end]
    elif stage.kind in (StageKind.SFT, StageKind.LONG_SFT):
        first, end, measured = 0, 50, [50]
    else:
        return {"file": b"content"}
    losses = [{"step": step, "loss": 7.0 - step / 100} for step in range(first, end)]
    metrics = [{"step": step, "validation_bpb": 2.5 - step / 1000} for step in measured]
    return {"loss.jsonl": _lines(losses), "metrics.jsonl": _lines(metrics), "model.safetensors": stage.key.encode()}


def _metrics(stage: Stage) -> dict[str, Any]:
    match stage.kind:
        case StageKind.CORPUS:
            return {"documents": 4199}
        case StageKind.TOKENIZER:
            return {"characters": 1_733_427}
        case StageKind.PACK:
            return {"rows": 1000, "kept_tokens": 257_000, "cropped_tokens": 20_000}
        case StageKind.MIXTURE:
            task = {"conversations": 400, "epochs": 2, "supervised_tokens": 6338, "truncated": 3}
            return {"tasks": {name: {**task, "origin": origin} for name, origin in TASKS.items()}}
        case StageKind.QUESTIONS:
            return {"origins": {"simple-spelling": "generated", "gsm8k": "openai/gsm8k main/test at e53f048856ff"}}
        case StageKind.PRETRAIN | StageKind.RECALIBRATE | StageKind.SFT | StageKind.LONG_SFT:
            return _training_metrics(stage)
        case _:
            return {}


def _training_metrics(stage: Stage) -> dict[str, Any]:
    metrics: dict[str, Any] = {
        "tokens": 143_360,
        "tokens_per_second": 5423,
        "device_seconds": 7200.0,
        "estimated_device_seconds": 6000.0,
        "peak_memory_bytes": 40_000_000_000,
    }
    if isinstance(stage.identity, TrainingIdentity):
        metrics["epochs"] = 1.154
    if stage.kind is StageKind.RECALIBRATE:
        metrics |= {"drop_bpb_with_rope": 1.83, "drop_bpb_without_rope": 2.36}
    return metrics


def _lines(records: list[dict[str, float]]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()
