"""The files of a checkpoint in nanochat's layout, found in a folder and told apart by step.

model_<step>.pt, meta_<step>.json        needed
optim_<step>_rank0.pt                    if it is there; without it a model can be used, but not fine-tuned
tokenizer.pkl                            needed, in a folder of its own if that is named
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artifacts.transfer import at_once, sha256_of
from core.stages.context import StageError
from core.stages.identity import AdoptedFile

MODEL = re.compile(r"model_(\d+)\.pt")
TOKENIZER = "tokenizer.pkl"


@dataclass(frozen=True, kw_only=True)
class CheckpointFiles:
    """Where each is."""

    model: Path
    meta: Path
    optimizer: Path | None
    tokenizer: Path

    def describe(self) -> tuple[AdoptedFile, ...]:
        """Name and sha256 of each: what makes the key."""
        paths = [path for path in (self.meta, self.model, self.optimizer, self.tokenizer) if path is not None]
        hashes = at_once(sha256_of, paths)
        return tuple(AdoptedFile(path=path.name, sha256=sha) for path, sha in zip(paths, hashes, strict=True))

    def read_meta(self) -> Mapping[str, Any]:
        """The document in the meta file; raises `StageError` when it is none."""
        try:
            document = json.loads(self.meta.read_bytes())
        except ValueError as error:
            raise StageError(f"{self.meta}: is not JSON: {error}") from None
        if not isinstance(document, dict):
            raise StageError(f"{self.meta}: holds a {type(document).__name__}, not the description of a model")
        return document


def find_checkpoint(folder: Path, tokenizer_folder: Path) -> CheckpointFiles:
    """The newest checkpoint of `folder`; raises `StageError` naming what is missing."""
    steps = sorted((int(found[1]), path) for path in _entries(folder) if (found := MODEL.fullmatch(path.name)))
    if not steps:
        raise StageError(f"{folder}: holds no model_<step>.pt; name the folder of one checkpoint of nanochat's layout")
    _, model = steps[-1]
    digits = model.stem.removeprefix("model_")
    meta, tokenizer = folder / f"meta_{digits}.json", tokenizer_folder / TOKENIZER
    if not meta.is_file():
        raise StageError(f"{folder}: has {model.name}, but no {meta.name} that describes it")
    if not tokenizer.is_file():
        raise StageError(f"{tokenizer}: not there; name the folder of the tokenizer with --tokenizer")
    ranks = sorted(folder.glob(f"optim_{digits}_rank*.pt"))
    if len(ranks) > 1:
        raise StageError(
            f"{folder}: the optimizer state of step {digits} is in {len(ranks)} parts; "
            "move them away to adopt the model without it"
        )
    return CheckpointFiles(model=model, meta=meta, optimizer=ranks[0] if ranks else None, tokenizer=tokenizer)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise StageError(f"{folder}: {error.strerror}; name the folder of a checkpoint") from None
