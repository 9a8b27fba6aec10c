"""What an export reads: a model artifact and its tokenizer, checked to belong together before anything is written.

Tensors are handed out one at a time, each from a mapping of the file that ends with it: whoever lets go of one tensor
before asking for the next never holds more than one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from core.data.tokenizer import Tokenizer
from core.model.architecture import Architecture
from core.model.checkpoint import WEIGHTS, ModelState, load_state
from core.model.transformer import Transformer
from core.stages.context import StageContext, StageError
from core.stages.identity import ExportIdentity

LOSSES, METRICS = "loss.jsonl", "metrics.jsonl"


@dataclass(frozen=True)
class Source:
    """A trained model and the tokenizer it was trained with."""

    folder: Path
    state: ModelState
    tokenizer: Tokenizer
    shapes: Mapping[str, torch.Size]  # of every parameter, in the order of the model's layers

    @classmethod
    def open(cls, context: StageContext[ExportIdentity], format_version: int) -> Source:
        """Read and check the inputs; raises `StageError` when they are not what the identity says or do not fit."""
        identity, folder = context.identity, context.inputs["model"]
        if identity.format_version != format_version:
            raise StageError(
                f"{context.name}: export format {identity.format_version} was asked for, "
                f"this version of miniseries writes {format_version}"
            )
        state, tokenizer = load_state(folder), Tokenizer.load(context.inputs["tokenizer"])
        if state.phase != identity.phase:
            raise StageError(
                f"{folder}: holds a model of phase {state.phase}, an export of {identity.phase} was asked for"
            )
        if tokenizer.vocabulary_size != state.architecture.vocabulary_size:
            raise StageError(
                f"{folder}: has {state.architecture.vocabulary_size} tokens, its tokenizer "
                f"{tokenizer.vocabulary_size}; they are not of one recipe"
            )
        source = cls(folder, state, tokenizer, parameter_shapes(state.architecture))
        source._check_tensors()
        return source

    @property
    def parameters(self) -> int:
        """How many numbers the model has."""
        return sum(shape.numel() for shape in self.shapes.values())

    def tensor(self, name: str, file: str = WEIGHTS) -> Tensor:
        """One tensor of one of the artifact's safetensors files."""
        with self._opened(file) as opened:
            tensor: Tensor = opened.get_tensor(name)  # type: ignore[no-untyped-call]
        return tensor

    def tensors(self, file: str = WEIGHTS) -> Iterator[tuple[str, Tensor]]:
        """Every tensor of such a file, in the order of their names."""
        with self._opened(file) as opened:
            names = sorted(opened.keys())  # type: ignore[no-untyped-call]
        for name in names:
            yield name, self.tensor(name, file)

    @contextmanager
    def _opened(self, file: str) -> Iterator[safe_open]:
        path = self.folder / file
        try:
            with safe_open(path, framework="pt") as opened:
                yield opened
        except (FileNotFoundError, SafetensorError) as error:
            raise StageError(f"{path}: cannot be read as safetensors: {error}") from None

    def records(self, file: str) -> list[dict[str, float]]:
        """The lines of one of the artifact's traces: `LOSSES` or `METRICS`."""
        path = self.folder / file
        try:
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except FileNotFoundError:
            raise StageError(f"{path}: not there, so this folder holds no finished training stage") from None

    def _check_tensors(self) -> None:
        found = {name: tensor.shape for name, tensor in self.tensors()}
        if odd := sorted(set(found) ^ set(self.shapes)):
            where = "is missing" if odd[0] in self.shapes else "has no place in this architecture"
            raise StageError(f"{self.folder / WEIGHTS}: tensor {odd[0]} {where}")
        for name, shape in self.shapes.items():
            if found[name] != shape:
                raise StageError(
                    f"{self.folder / WEIGHTS}: {name} has shape {tuple(found[name])}, "
                    f"this architecture gives it {tuple(shape)}"
                )


def parameter_shapes(architecture: Architecture) -> dict[str, torch.Size]:
    """Shape of every parameter by name, in the order of the model's layers; no memory is allocated."""
    with torch.device("meta"):
        model = Transformer(architecture)
    return {name: parameter.shape for name, parameter in model.named_parameters()}
