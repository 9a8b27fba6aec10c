"""Toy stages: a two-layer model on fabricated packs and mixtures, trained by the real producers."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.data.rows import RowsWriter
from core.model.architecture import Architecture
from core.recipes.optimization import AdamW, Muon, Optimization, Schedule
from core.stages.identity import FinetuneIdentity, TrainingIdentity
from core.stages.runtime import Runtime

PROGRAM = Path(__file__).parent / "train_stage.py"
_specification = importlib.util.spec_from_file_location("train_stage", PROGRAM)
train_stage = importlib.util.module_from_spec(_specification)
sys.modules["train_stage"] = train_stage
_specification.loader.exec_module(train_stage)

VOCABULARY = 96
LENGTH = 16  # T
ROWS_PER_STEP = 6
STEPS = 20

ARCHITECTURE = Architecture(
    depth=2,
    width=64,
    heads=2,
    key_value_heads=2,
    head_width=32,
    mlp="swiglu",
    mlp_width=128,
    vocabulary_size=VOCABULARY,
    sequence_length=LENGTH,
    rope_base=100_000.0,
    logit_softcap=15.0,
    norm_epsilon=1e-6,
    normalize_embedding=False,
)

OPTIMIZATION = Optimization(
    matrices=Muon(
        peak_rate=0.02,
        orthogonalization="polar-express",
        second_moment_beta=0.9,
        momentum_start=0.85,
        momentum_peak=0.95,
        momentum_final=0.90,
        momentum_warmup_steps=5,
        weight_decay=0.1,
    ),
    embedding=AdamW(peak_rate=0.1, beta1=0.8, beta2=0.995, epsilon=1e-10, weight_decay=0.001),
    unembedding=AdamW(peak_rate=0.01, beta1=0.8, beta2=0.96, epsilon=1e-10, weight_decay=0.01),
    schedule=Schedule(warmup_steps=2, warmdown_fraction=0.65, final_fraction=0.05),
    gradient_clip=None,
)

SEGMENT = TrainingIdentity(
    architecture=ARCHITECTURE,
    optimization=OPTIMIZATION,
    steps=STEPS,
    batch_tokens=ROWS_PER_STEP * LENGTH,
    precision="fp32",
    seed=42,
    direction="forward",
    stream_shards=2,
    first_step=0,
    end_step=STEPS,
    use_rope=True,
)

FINETUNE = FinetuneIdentity(
    optimization=replace(
        OPTIMIZATION,
        matrices=replace(OPTIMIZATION.matrices, peak_rate=0.002, weight_decay=0.0),
        embedding=replace(OPTIMIZATION.embedding, peak_rate=0.01),
        unembedding=replace(OPTIMIZATION.unembedding, peak_rate=0.001),
        schedule=Schedule(warmup_steps=0, warmdown_fraction=0.5, final_fraction=0.0),
    ),
    sequence_length=2 * LENGTH,
    batch_tokens=4 * 2 * LENGTH,
    precision="fp32",
    seed=42,
)

RUNTIME = Runtime(checkpoint_seconds=3600.0, log_seconds=0.0, evaluate_steps=8, validation_batches=1)


def counting_rows(rows: int, row_tokens: int, seed: int) -> np.ndarray:
    """Rows that count up in steps of 1 to 3 from a random number: learnable in a few steps."""
    generator = np.random.default_rng(seed)
    first = generator.integers(0, VOCABULARY, (rows, 1))
    stride = generator.integers(1, 4, (rows, 1))
    return (first + stride * np.arange(row_tokens)) % VOCABULARY


def write_rows(folder: Path, name: str, rows: np.ndarray, vocabulary_size: int = VOCABULARY) -> None:
    """Write packed rows (or, with a vocabulary of 2, a mask) as the data stages do."""
    folder.mkdir(parents=True, exist_ok=True)
    with RowsWriter(folder, name, rows.shape[1], vocabulary_size) as writer:
        writer.append(rows)


@pytest.fixture
def segment() -> TrainingIdentity:
    """All 20 steps of the toy horizon in one segment."""
    return SEGMENT


@pytest.fixture
def tuning() -> FinetuneIdentity:
    """One pass over the toy mixture, at twice the length of the base."""
    return FINETUNE


@pytest.fixture
def runtime() -> Runtime:
    """Measures every 8 steps, never checkpoints by the clock."""
    return RUNTIME


@dataclass(frozen=True)
class Inputs:
    """Folders of fabricated artifacts."""

    pretraining: dict[str, Path]  # group-000, group-001, validation, tokenizer
    finetuning: dict[str, Path]  # mixture, tokenizer


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """Two pack groups of 80 rows in all (20 steps wrap around), validation rows, a mixture, token lengths."""
    root = tmp_path_factory.mktemp("inputs")
    for index, rows in enumerate((50, 30)):
        write_rows(root / f"group-{index:03d}", "rows", counting_rows(rows, LENGTH + 1, seed=index))
    write_rows(root / "validation", "rows", counting_rows(11, LENGTH + 1, seed=9))
    (root / "tokenizer").mkdir()
    token_bytes = 1 + np.arange(VOCABULARY, dtype=np.int32) % 4
    token_bytes[-3:] = 0
    np.save(root / "tokenizer" / "token_bytes.npy", token_bytes)
    generator = np.random.default_rng(3)
    for split, rows in (("train", 22), ("validation", 5)):
        write_rows(root / "mixture", f"{split}.rows", counting_rows(rows, 2 * LENGTH + 1, seed=rows))
        mask = generator.integers(0, 2, (rows, 2 * LENGTH + 1))
        mask[1] = 0  # a conversation without a supervised token
        write_rows(root / "mixture", f"{split}.mask", mask, vocabulary_size=2)
    packs = {name: root / name for name in ("group-000", "group-001", "validation", "tokenizer")}
    return Inputs(packs, {"mixture": root / "mixture", "tokenizer": root / "tokenizer"})


@dataclass(frozen=True)
class Trained:
    """What a stage left."""

    folder: Path
    metrics: dict[str, Any]
    log: str

    def bytes(self, name: str) -> bytes:
        """Content of one file of the artifact."""
        return (self.folder / name).read_bytes()


Train = Callable[..., Trained]
Launch = Callable[..., subprocess.CompletedProcess[str]]


def train_at(root: Path, producer: str, identity: Any, inputs: dict[str, Path], **options: Any) -> Trained:
    """Run `core.training.<producer>` in this process, below `root`."""
    options.setdefault("runtime", RUNTIME)
    description = train_stage.Description(producer=producer, identity=identity, inputs=inputs, root=root, **options)
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # as in `launch`: threads are part of the numerics domain
        metrics = description.run(stream)
    return Trained(root / "output", metrics, stream.getvalue())


@pytest.fixture
def train_in(tmp_path: Path) -> Train:
    """`train_in(name, producer, identity, folders, parent=..., ...)`: `train` with other inputs than the usual ones."""

    def run(
        name: str, producer: str, identity: Any, folders: dict[str, Path], *, parent: Path | None = None, **options: Any
    ) -> Trained:
        role = "base" if producer == "finetune" else "previous"
        folders = folders if parent is None else {**folders, role: parent}
        return train_at(tmp_path / name, producer, identity, folders, **options)

    return run


@pytest.fixture
def train(inputs: Inputs, train_in: Train) -> Train:
    """`train(name, producer, identity, parent=..., ...)` runs a stage in `tmp_path/name` and returns what it left."""

    def run(name: str, producer: str, identity: Any, **options: Any) -> Trained:
        folders = inputs.finetuning if producer == "finetune" else inputs.pretraining
        return train_in(name, producer, identity, folders, **options)

    return run


@pytest.fixture
def launch(tmp_path: Path, inputs: Inputs) -> Launch:
    """`launch(name, producer, identity, ranks=2)` runs a stage in processes of its own, in `tmp_path/name`."""

    def run(name: str, producer: str, identity: Any, *, ranks: int = 1, **options: Any) -> Any:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        folders = options.pop("folders", inputs.pretraining)
        options.setdefault("runtime", RUNTIME)
        description = train_stage.Description(
            producer=producer, identity=identity, inputs=folders, root=root, **options
        )
        description.write(root / "description.json")
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
        command = [sys.executable, *torchrun, str(PROGRAM), str(root / "description.json")]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "TORCH_COMPILE_DISABLE": "1",  # a compiler maps gigabytes, which tests of too little memory do not mean
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=540)

    return run


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory, inputs: Inputs) -> Trained:
    """One undisturbed run over the whole horizon."""
    return train_at(tmp_path_factory.mktemp("base"), "pretrain", SEGMENT, inputs.pretraining)


@pytest.fixture
def large(inputs: Inputs, tmp_path: Path) -> Callable[[int, int], tuple[TrainingIdentity, dict[str, Path]]]:
    """`large(rows, length)`: two steps of so many rows, and their inputs; 131,072 tokens take above a gigabyte."""

    def make(rows: int, length: int) -> tuple[TrainingIdentity, dict[str, Path]]:
        write_rows(tmp_path / "long", "rows", counting_rows(rows, length + 1, seed=1))
        folders = {role: folder for role, folder in inputs.pretraining.items() if role != "group-001"}
        architecture = replace(ARCHITECTURE, sequence_length=length)
        identity = replace(SEGMENT, architecture=architecture, batch_tokens=rows * length, end_step=2)
        return identity, {**folders, "group-000": tmp_path / "long", "validation": tmp_path / "long"}

    return make
