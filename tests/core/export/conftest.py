"""Fabricated artifacts: tiny models with random weights, a real tokenizer, and the real producers on them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import pytest
import rustbpe
import torch
from safetensors.torch import save_file

from core.data.tokenizer import Tokenizer
from core.model import checkpoint
from core.model.architecture import Architecture
from core.model.checkpoint import ModelState
from core.model.transformer import Transformer
from core.recipes import tiny
from core.recipes.vocabulary import SPECIAL_TOKENS, SPLIT_PATTERN
from core.stages.context import Metrics
from core.stages.identity import ExportIdentity
from core.training.muon import second_moment_shape

PROGRAM = Path(__file__).with_name("run_export.py")
_specification = importlib.util.spec_from_file_location("run_export", PROGRAM)
_run_export = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(_run_export)

TEXT = [
    "The quick brown fox jumps over the lazy dog, 12345 times; it's a riddle we've heard before.",
    "def function(argument):\n    return argument ** 2  # the square\n",
    "naïve café, Straße, 你好世界, привет мир, नमस्ते ☕️ \n\n\n   trailing   ",
] * 8
VOCABULARY = 400

SWIGLU = Architecture(
    depth=2,
    width=64,
    heads=4,
    key_value_heads=2,
    head_width=16,
    mlp="swiglu",
    mlp_width=128,
    vocabulary_size=VOCABULARY,
    sequence_length=32,
    rope_base=100_000.0,
    logit_softcap=15.0,
    norm_epsilon=1e-6,
    normalize_embedding=False,
)
RELU2 = replace(SWIGLU, mlp="relu2", key_value_heads=4, normalize_embedding=True, rope_base=10_000.0)

STATE = ModelState(
    phase="base",
    step=12,
    steps=20,
    use_rope=True,
    direction="forward",
    sequence_length=SWIGLU.sequence_length,
    batch_tokens=128,
    tokens_seen=12 * 128,
    precision="fp32",
    seed=42,
    architecture=SWIGLU,
    optimization=tiny.OPTIMIZATION,
)


@dataclass(frozen=True)
class Exported:
    """What a producer made, and from what."""

    folder: Path
    model: Path
    tokenizer: Path
    metrics: Metrics


Exporter = Callable[..., Exported]


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer artifact trained on `TEXT`."""
    folder = tmp_path_factory.mktemp("tokenizer")
    trainer = rustbpe.Tokenizer()
    trainer.train_from_iterator(iter(TEXT), VOCABULARY - len(SPECIAL_TOKENS), pattern=SPLIT_PATTERN)
    ranks = {bytes(token): rank for token, rank in trainer.get_mergeable_ranks()}
    tokenizer = Tokenizer(SPLIT_PATTERN, SPECIAL_TOKENS, ranks)
    assert tokenizer.vocabulary_size == VOCABULARY
    tokenizer.save(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(tokenizer_folder: Path) -> Tokenizer:
    """The same, loaded."""
    return Tokenizer.load(tokenizer_folder)


@pytest.fixture(scope="session")
def run_export() -> ModuleType:
    """The program that makes one export, as a module."""
    return _run_export


@pytest.fixture(scope="session")
def fabricate() -> Callable[[Path, ModelState], None]:
    """`fabricate(folder, state)` writes a model artifact with random weights."""
    return write_model


@pytest.fixture(scope="session")
def base_state() -> ModelState:
    """A base model as training left it, SwiGLU with RoPE; tests vary it by `dataclasses.replace`."""
    return STATE


@pytest.fixture(scope="session")
def relu2_state() -> ModelState:
    """The same with ReLU^2, a norm after the embedding, and another theta."""
    return replace(STATE, architecture=RELU2)


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Exporter:
    """`export("core.export.native", state)` fabricates a model of that state and exports it."""

    def run(module: str, state: ModelState, identity: ExportIdentity | None = None) -> Exported:
        root = tmp_path_factory.mktemp("export")
        model, output = root / "model", root / "output"
        model.mkdir()
        write_model(model, state)
        metrics = _run_export.make(
            module, identity or ExportIdentity(format_version=1, phase=state.phase), model, tokenizer_folder, output
        )
        return Exported(output, model, tokenizer_folder, metrics)

    return run


def write_model(folder: Path, state: ModelState) -> None:
    """Write what a training stage leaves: weights as random as the seed, optimizer state that tells its slots apart."""
    model = Transformer(state.architecture, use_rope=state.use_rope)
    generator = torch.Generator().manual_seed(state.seed)
    weights = {
        name: torch.randn(parameter.shape, generator=generator) * parameter.shape[-1] ** -0.5
        for name, parameter in model.named_parameters()
    }
    if state.precision != "fp32":
        weights["transformer.wte.weight"] = weights["transformer.wte.weight"].bfloat16()
    checkpoint.save(folder, state, weights)
    slots: dict[str, torch.Tensor] = {}
    for index, (name, weight) in enumerate(weights.items()):
        if ".h." in name:
            shape = second_moment_shape((weight.shape[0], weight.shape[1]))
            slots |= {f"{name}.momentum": weight + 1, f"{name}.second_moment": torch.full(shape, float(index))}
        else:
            slots |= {f"{name}.first_moment": weight + 2, f"{name}.second_moment": weight + 3}
            slots[f"{name}.updates"] = torch.tensor(state.step)
    save_file(slots, folder / "optimizer.safetensors")
    losses = [{"step": step, "loss": 5.0 - step / 10} for step in range(state.step)]
    metrics = [{"step": 6, "validation_bpb": 2.5}, {"step": 12, "tokens_per_second": 9.0, "validation_bpb": 2.25}]
    for name, records in (("loss.jsonl", losses), ("metrics.jsonl", metrics)):
        (folder / name).write_text("".join(json.dumps(record) + "\n" for record in records))
