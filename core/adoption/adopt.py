"""Stage `adopted`: a model that was trained elsewhere, as an artifact that stands for both its model and its tokenizer.

    model.safetensors, state.json, optimizer.safetensors     what a training stage leaves, see `core.training.snapshot`
    loss.jsonl, metrics.jsonl                                the last numbers of its meta file
    ranks.tiktoken, tokenizer.json, token_bytes.npy          see `core.data.tokenizer`
    origin.json                                              the meta file as it was found

Round trip: every tensor written is read back and has the sha256 of the one in the checkpoint, so exporting the artifact
natively gives the tensors that were adopted. Inputs: `checkpoint` and `tokenizer`, folders of its user's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from core.adoption.checkpoint import CheckpointFiles, find_checkpoint
from core.adoption.description import Meta, describe_model
from core.adoption.encoding_pickle import read_encoding
from core.adoption.optimizer import read_slots
from core.adoption.weights import fit, read_tensors
from core.data.tokenizer import Tokenizer
from core.export.native import OPTIMIZER
from core.export.source import LOSSES, METRICS, parameter_shapes
from core.model import checkpoint
from core.model.checkpoint import WEIGHTS, ModelState
from core.model.tensors import write_tensors
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import AdoptedIdentity

ORIGIN = "origin.json"


def produce(context: StageContext[AdoptedIdentity]) -> Metrics:
    """Write the artifact; raises `StageError` in one line for a checkpoint that is not of this family."""
    files, output = find_checkpoint(context.inputs["checkpoint"], context.inputs["tokenizer"]), context.output
    meta, tensors = files.read_meta(), read_tensors(files.model)
    state, tokenizer = describe_model(files.meta, meta, tensors, context.identity), read_encoding(files.tokenizer)
    if tokenizer.vocabulary_size != state.architecture.vocabulary_size:
        raise StageError(
            f"{files.tokenizer}: has {tokenizer.vocabulary_size} tokens, the model "
            f"{state.architecture.vocabulary_size}; they are not of one checkpoint"
        )
    weights = fit(tensors, state.architecture, files.model)
    checkpoint.save(output, state, weights)
    require_equal(weights, output / WEIGHTS)
    write_optimizer(files, state, output)
    write_trace(meta, state, output)
    tokenizer.save(output)
    (output / ORIGIN).write_text(json.dumps(meta, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return describe(state, tokenizer, files)


def describe(state: ModelState, tokenizer: Tokenizer, files: CheckpointFiles) -> Metrics:
    """What a person wants to know about the model that was adopted."""
    return {
        "parameters": state.architecture.total_parameters,
        "tensors_equal": len(parameter_shapes(state.architecture)),
        "vocabulary_size": tokenizer.vocabulary_size,
        "step": state.step,
        "use_rope": state.use_rope,
        "rope_base": state.architecture.rope_base,
        "mlp": state.architecture.mlp,
        "optimizer": files.optimizer is not None,
    }


def require_equal(weights: Mapping[str, Tensor], path: Path) -> None:
    """Raise `StageError` unless every tensor of the safetensors file has the sha256 of the one it was made from."""
    with safe_open(path, framework="pt") as written:
        for name, tensor in weights.items():
            if sha256_of(written.get_tensor(name)) != sha256_of(tensor):
                raise StageError(f"{path}: {name} is not what the checkpoint holds; adopt it again")


def sha256_of(tensor: Tensor) -> str:
    """sha256 hex of a tensor's numbers, in its dtype, row by row."""
    return hashlib.sha256(tensor.contiguous().view(torch.uint8).numpy().data).hexdigest()


def write_optimizer(files: CheckpointFiles, state: ModelState, output: Path) -> None:
    """Write the optimizer state if there is one; a model without can be exported, but not fine-tuned."""
    if files.optimizer is not None:
        write_tensors(output / OPTIMIZER, read_slots(files.optimizer, parameter_shapes(state.architecture)))


def write_trace(meta: Meta, state: ModelState, output: Path) -> None:
    """Write the last loss and validation that the meta file has, where exports look for a training's trace."""
    loop = meta.get("loop_state") or {}
    losses = [{"step": state.step, "loss": loop["smooth_train_loss"]}] if loop.get("smooth_train_loss") else []
    measured = dict.fromkeys(value for value in (loop.get("min_val_bpb"), meta.get("val_bpb")) if value)
    metrics = [{"step": state.step, "validation_bpb": value} for value in measured]
    for name, records in ((LOSSES, losses), (METRICS, metrics)):
        (output / name).write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
