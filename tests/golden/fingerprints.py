"""What is compared of each kind's artifact: hashes where bytes are exact on every machine, numbers where they are not.

A fingerprint is a flat mapping. Text and whole numbers must be equal; floats come from floating-point arithmetic
whose last bits depend on the processor, and may differ by a ten-thousandth. A parquet file's bytes depend on the
library that wrote it, so of a corpus the documents are hashed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from math import isclose
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from core.data.corpus.artifact import Corpus, read_documents
from core.stages.kind import StageKind

Leaf = str | int | float | None
Fingerprint = dict[str, Leaf]

TOLERANCE = 1e-4  # relative
NORMS = ("transformer.wte.weight", "transformer.h.0.attn.c_k.weight", "transformer.h.1.mlp.c_proj.weight")
TRACES = {
    "loss.jsonl": ("loss",),
    "metrics.jsonl": (
        *("rate_multiplier", "gradient_norm"),
        *("validation_bpb", "drop_bpb_with_rope", "drop_bpb_without_rope"),
    ),
}


def sha256(content: bytes) -> str:
    """The first 16 hex digits: enough to notice, short enough to read."""
    return hashlib.sha256(content).hexdigest()[:16]


def files(folder: Path) -> Fingerprint:
    """Every file with the hash of its bytes."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): sha256(path.read_bytes()) for path in paths}


def corpus(folder: Path) -> Fingerprint:
    """Every shard with the hash of its documents; the description but for the revision, which names the interpreter."""
    description = Corpus.load(folder)
    found: Fingerprint = {"files": names(folder), "validation_shard": description.validation_shard}
    for shard in description.shards:
        texts = [text for batch in read_documents(folder / shard.file, 1024) for text in batch]
        found[f"{shard.file} documents"] = shard.documents
        found[f"{shard.file} characters"] = shard.characters
        found[f"{shard.file} text"] = sha256(json.dumps(texts).encode())
    return found


def training(folder: Path) -> Fingerprint:
    """Losses and measurements of every step, the state, and norms of some weights and their optimizer state."""
    found: Fingerprint = {"files": names(folder), "state.json": sha256((folder / "state.json").read_bytes())}
    for file, traced in TRACES.items():
        for line in (folder / file).read_text().splitlines():
            record = json.loads(line)
            found |= {f"{file} step {record['step']} {name}": record[name] for name in traced if name in record}
    for file in ("model.safetensors", "optimizer.safetensors"):
        tensors = load_file(folder / file)
        found[f"{file} tensors"] = len(tensors)
        chosen = [name for name in sorted(tensors) if name.startswith(NORMS)]
        found |= {f"{file} {name} norm": float(np.linalg.norm(tensors[name].astype(np.float64))) for name in chosen}
    return found


def evaluation(folder: Path) -> Fingerprint:
    """Everything in `evaluation.json`, leaf by leaf, and whatever else there is."""
    document = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    measured = ("evaluation.json", "rows.jsonl", "cloze.jsonl")
    others = {name: content for name, content in files(folder).items() if name not in measured}
    lines = {**_rows(folder / "rows.jsonl"), **_cloze(folder / "cloze.jsonl")}
    return {"files": names(folder), **dict(leaves(document, "evaluation.json")), **lines, **others}


def _rows(path: Path) -> Fingerprint:
    """The bits of every row."""
    found: Fingerprint = {}
    for line in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        found[f"rows.jsonl {line['set']} {line['way']} {line['row']}"] = line["bits"]
    return found


def _cloze(path: Path) -> Fingerprint:
    """What was asked, to the letter."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    asked = [[line[name] for name in ("way", "text", "candidates", "right")] for line in map(json.loads, lines)]
    return {"cloze.jsonl asked": sha256(json.dumps(asked).encode())} if lines else {}


def core_metric(folder: Path) -> Fingerprint:
    """Everything in `core.json` and the raw lines, leaf by leaf."""
    document = json.loads((folder / "core.json").read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in (folder / "outcomes.jsonl").read_text(encoding="utf-8").splitlines()]
    found = {**dict(leaves(document, "core.json")), **dict(leaves(lines, "outcomes.jsonl"))}
    return {"files": names(folder), **found, "core.md": sha256((folder / "core.md").read_bytes())}


def long_context(folder: Path) -> Fingerprint:
    """Which documents and needles were read, to the letter; of the tables the overall numbers."""
    document = json.loads((folder / "long_context.json").read_text(encoding="utf-8"))
    trials = [json.loads(line) for line in (folder / "trials.jsonl").read_text(encoding="utf-8").splitlines()]
    shown = [
        [trial[name] for name in ("kind", "factor", "number", "prompt_tokens", "needles")]
        + [query["candidates"] for query in trial["queries"]]
        for trial in trials
    ]
    tables = document["tables"]
    found: Fingerprint = {"files": names(folder), "trials": sha256(json.dumps(shown).encode())}
    for row in (row for row in tables["positions"] if row["method"] != "logit-scale"):  # which was fitted
        found[f"bits per byte {row['method']} {row['factor']}x {row['first']}-{row['end']}"] = row["result"]["value"]
    for row in (row for row in tables["rates"] if row["method"] != "logit-scale" and row["depth"] is None):
        found[f"{row['kind']} {row['method']} {row['factor']}x by {row['by']}"] = row["result"]["value"]
    return {**found, **dict(leaves(document["documents"], "documents")), **dict(leaves(document["missing"], "missing"))}


def study(folder: Path) -> Fingerprint:
    """Every number and sentence, leaf by leaf; pages and figures are made of them."""
    document = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    return {"files": names(folder), **dict(leaves(document, "study.json"))}


def certified(folder: Path) -> Fingerprint:
    """Every file with its hash, but of the certificate what was checked: what was measured is noise."""
    found = files(folder)
    del found["certificate.json"]
    for check in json.loads((folder / "certificate.json").read_text(encoding="utf-8"))["checks"]:
        held = f"{'passed' if check['passed'] else 'failed'}, {check['limit']} {check['bound']:g}"
        found[f"certificate.json {check['name']}"] = f"{held} over {check['sample_size']} {check['sample_unit']}"
    return found


FINGERPRINTS: Mapping[StageKind, Callable[[Path], Fingerprint]] = {
    **dict.fromkeys(StageKind, files),
    StageKind.CORPUS: corpus,
    StageKind.PRETRAIN: training,
    StageKind.RECALIBRATE: training,
    StageKind.SFT: training,
    StageKind.LONG_SFT: training,
    StageKind.EVALUATE: evaluation,
    StageKind.CORE_METRIC: core_metric,
    StageKind.LONG_CONTEXT: long_context,
    StageKind.STUDY: study,
    StageKind.EXPORT_HF: certified,
    StageKind.EXPORT_TWIN: certified,
}


def names(folder: Path) -> str:
    """The files of a folder in one line."""
    return " ".join(files(folder))


def leaves(value: object, path: str) -> Iterator[tuple[str, Leaf]]:
    """The leaves of a JSON value with their paths."""
    if isinstance(value, dict | list):
        for name, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(member, f"{path}/{name}")
    else:
        assert value is None or isinstance(value, str | int | float)
        yield path, value


def differences(recorded: Fingerprint, measured: Fingerprint) -> list[str]:
    """One phrase for each entry that is not the same, sorted by name."""
    found = []
    for name in sorted(recorded.keys() | measured.keys()):
        if name not in measured:
            found.append(f"{name} is gone")
        elif name not in recorded:
            found.append(f"{name} is new")
        elif not same(recorded[name], measured[name]):
            found.append(f"{name} was {recorded[name]!r}, is {measured[name]!r}")
    return found


def same(recorded: Leaf, measured: Leaf) -> bool:
    """Equal, or floats within the tolerance."""
    if isinstance(recorded, float) and isinstance(measured, float):
        return isclose(recorded, measured, rel_tol=TOLERANCE)
    return recorded == measured
