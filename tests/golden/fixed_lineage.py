"""A lineage that never changes, for publishing: what two models with a RoPE drop and a fine-tune were made from.

Written out by hand and not taken from a plan, whose keys and titles change with recipes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from core.lineage.lineage import LINEAGE, TRACES, Ancestor, Lineage
from core.stages.kind import StageKind

OPTIMIZATION = {
    "matrices": {"peak_rate": 0.02, "weight_decay": 0.1},
    "embedding": {"peak_rate": 0.2},
    "unembedding": {"peak_rate": 0.006},
    "schedule": {"warmup_steps": 2, "warmdown_fraction": 0.5, "final_fraction": 0.05},
}
SEGMENT = {"optimization": OPTIMIZATION, "seed": 42, "steps": 12}
TUNED = {"conversations": 40, "epochs": 2, "supervised_tokens": 633, "truncated": 1, "origin": "generated"}
MEASURED = {"tokens": 1152, "tokens_per_second": 96, "device_seconds": 12.0, "peak_memory_bytes": 40_000_000}
TRAINED = {StageKind.PRETRAIN: (0, 6), StageKind.RECALIBRATE: (6, 12), StageKind.SFT: (0, 6)}
ROLES = {f"{what}-{phase}": (what, phase) for phase in ("base", "sft") for what in ("native", "hf", "evaluation")}
KINDS = {"native": StageKind.EXPORT_NATIVE, "hf": StageKind.EXPORT_HF, "evaluation": StageKind.EVALUATE}


def write_lineage(folder: Path) -> None:
    """Write it with the traces of its training, as it is gathered for the stage."""
    lineage = fixed_lineage()
    lineage.write(folder / LINEAGE)
    for stage in lineage.training:
        (folder / stage.key).mkdir()
        first, end = TRAINED[stage.kind]
        records = [
            {"step": step, "loss": 6.0 - step / 8, "validation_bpb": 2.5 - step / 16} for step in range(first, end)
        ]
        for file in TRACES:
            (folder / stage.key / file).write_text("".join(json.dumps(record) + "\n" for record in records))


def fixed_lineage() -> Lineage:
    """Trunk to leaf."""
    corpus = _made(StageKind.CORPUS, identity={"source": "golden", "revision": "1"})
    vocabulary = {"vocabulary_size": 288, "special_tokens": ["<|bos|>"]}
    tokenizer = _made(StageKind.TOKENIZER, {"corpus": corpus}, vocabulary, {"characters": 25_000})
    shards = {"first_shard": 0, "end_shard": 2}
    held = {"rows": 50, "kept_tokens": 1600, "cropped_tokens": 16}
    group = _made(StageKind.PACK, {"corpus": corpus, "tokenizer": tokenizer}, shards, held)
    trunk = _made(StageKind.PRETRAIN, {"group-000": group}, {**SEGMENT, "first_step": 0}, {**MEASURED, "epochs": 0.72})
    drop = {"drop_bpb_with_rope": 2.0, "drop_bpb_without_rope": 2.25}
    base = _made(
        StageKind.RECALIBRATE,
        {"previous": trunk, "group-000": group},
        {**SEGMENT, "first_step": 6},
        {**MEASURED, **drop, "epochs": 1.44},
    )
    mixture = _made(StageKind.MIXTURE, {"tokenizer": tokenizer}, metrics={"tasks": {"spelling": TUNED}})
    tuned = _made(
        StageKind.SFT, {"base": base, "mixture": mixture}, {"optimization": OPTIMIZATION, "seed": 42}, MEASURED
    )
    models = {"base": base, "sft": tuned}
    leaves = {role: _made(KINDS[what], {"model": models[phase]}, name=role) for role, (what, phase) in ROLES.items()}
    return Lineage(
        deliverables={role: leaf.key for role, leaf in leaves.items()},
        stages=(corpus, tokenizer, group, trunk, base, mixture, tuned, *leaves.values()),
    )


def _made(
    kind: StageKind,
    inputs: dict[str, Ancestor] | None = None,
    identity: dict[str, Any] | None = None,
    metrics: dict[str, Any] | None = None,
    name: str = "golden",
) -> Ancestor:
    return Ancestor(
        kind=kind,
        name=name,
        title=f"{kind.value} {name}",
        key=hashlib.sha256(f"{kind.value} {name}".encode()).hexdigest(),
        version=1,
        identity=identity or {},
        inputs={role: need.key for role, need in (inputs or {}).items()},
        observed={},
        is_recorded=True,
        metrics=metrics or {},
        numerics={"device": "cpu", "threads": 2, "world_size": 1, "python": "3.11.7"},
        packages={"torch": "2.13.0"},
        revision="0123456789abcdef0123456789abcdef01234567",
        dirty=False,
    )
