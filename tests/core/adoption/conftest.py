"""Checkpoints to adopt: of our own native export, and as nanochat writes them."""

from __future__ import annotations

import importlib.util
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import tiktoken
import torch

from artifacts.store import Store
from core.data.tokenizer import Tokenizer
from core.model.checkpoint import load_weights
from core.recipes.vocabulary import SPECIAL_TOKENS, SPLIT_PATTERN

_specification = importlib.util.spec_from_file_location(
    "fixed_models", Path(__file__).parents[2] / "golden" / "fixed_models.py"
)
assert _specification is not None
fixed_models = importlib.util.module_from_spec(_specification)
assert _specification.loader is not None
_specification.loader.exec_module(fixed_models)

VOCABULARY = 256 + len(SPECIAL_TOKENS)
STATE = replace(
    fixed_models.BASE, use_rope=False, architecture=replace(fixed_models.SWIGLU, vocabulary_size=VOCABULARY)
)

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """Bytes and the family's special tokens."""
    return Tokenizer(SPLIT_PATTERN, SPECIAL_TOKENS, {bytes([byte]): byte for byte in range(256)})


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    """What training leaves, and the tokenizer beside it."""
    folder = tmp_path_factory.mktemp("trained") / "artifact"
    fixed_models.write_model(folder, STATE)
    tokenizer.save(folder)
    return folder


@dataclass
class Checkpoint:
    """A checkpoint as nanochat writes it; tests change what they want before `write`."""

    folder: Path
    tensors: Tensors
    encoding: object
    meta: dict[str, Any] = field(default_factory=dict)

    def write(self) -> Path:
        """The files; returns their folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.tensors, self.folder / "model_000006.pt")
        (self.folder / "meta_000006.json").write_text(json.dumps(self.meta))
        (self.folder / "tokenizer.pkl").write_bytes(pickle.dumps(self.encoding))
        return self.folder

    def rename(self, change: Callable[[str], str]) -> None:
        """Call every tensor otherwise."""
        self.tensors = {change(name): tensor for name, tensor in self.tensors.items()}


@pytest.fixture
def theirs(tmp_path: Path, trained: Path, tokenizer: Tokenizer) -> Checkpoint:
    """A base model of the seed: no architecture and no optimizer, `use_rope` in its loop state."""
    architecture = STATE.architecture
    meta: Mapping[str, Any] = {
        "step": 6,
        "val_bpb": 1.5,
        "model_config": {
            "sequence_len": architecture.sequence_length,
            "vocab_size": VOCABULARY,
            "n_layer": architecture.depth,
            "n_head": architecture.heads,
            "n_kv_head": architecture.key_value_heads,
            "n_embd": architecture.width,
        },
        "user_config": {"num_iterations": -1, "total_batch_size": -1},
        "total_batch_size": 192,
        "loop_state": {"min_val_bpb": 1.5, "smooth_train_loss": 3.5, "total_training_time": 9.0, "use_rope": False},
    }
    folder = tmp_path / "base_checkpoints" / "theirs"
    encoding: tiktoken.Encoding = tokenizer.encoding
    return Checkpoint(folder, load_weights(trained), encoding, json.loads(json.dumps(meta)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty one."""
    return Store.open(str(tmp_path / "store"), tmp_path / "cache")
