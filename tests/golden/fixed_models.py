"""Model artifacts that never change: weights and optimizer state from integer arithmetic, the same on every machine."""

from __future__ import annotations

import json
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from core.export.source import parameter_shapes
from core.model import checkpoint
from core.model.architecture import Architecture
from core.model.checkpoint import ModelState
from core.recipes.optimization import AdamW, Muon, Optimization, Schedule
from core.training.muon import second_moment_shape

LENGTH = 32  # T
ROWS_PER_STEP = 6
STEPS = 12
VOCABULARY = 288

SWIGLU = Architecture(
    depth=2,
    width=32,
    heads=2,
    key_value_heads=1,
    head_width=16,
    mlp="swiglu",
    mlp_width=64,
    vocabulary_size=VOCABULARY,
    sequence_length=LENGTH,
    rope_base=100_000.0,
    logit_softcap=15.0,
    norm_epsilon=1e-6,
    normalize_embedding=False,
)
RELU2 = replace(SWIGLU, key_value_heads=2, mlp="relu2", mlp_width=128, rope_base=10_000.0, normalize_embedding=True)

OPTIMIZATION = Optimization(
    matrices=Muon(
        peak_rate=0.02,
        orthogonalization="polar-express",
        second_moment_beta=0.9,
        momentum_start=0.85,
        momentum_peak=0.95,
        momentum_final=0.90,
        momentum_warmup_steps=4,
        weight_decay=0.1,
    ),
    embedding=AdamW(peak_rate=0.1, beta1=0.8, beta2=0.995, epsilon=1e-10, weight_decay=0.001),
    unembedding=AdamW(peak_rate=0.01, beta1=0.8, beta2=0.96, epsilon=1e-10, weight_decay=0.01),
    schedule=Schedule(warmup_steps=2, warmdown_fraction=0.5, final_fraction=0.05),
    gradient_clip=None,
)

BASE = ModelState(
    phase="base",
    step=6,
    steps=STEPS,
    use_rope=True,
    direction="forward",
    sequence_length=LENGTH,
    batch_tokens=ROWS_PER_STEP * LENGTH,
    tokens_seen=6 * ROWS_PER_STEP * LENGTH,
    precision="fp32",
    seed=42,
    architecture=SWIGLU,
    optimization=OPTIMIZATION,
)
CHAT = replace(BASE, phase="sft", use_rope=False, sequence_length=3 * LENGTH, architecture=RELU2, tokens_seen=4000)


def fixed_tensor(shape: tuple[int, ...], salt: int, scale: float) -> torch.Tensor:
    """Numbers in [-scale, scale) from 16 bits of a multiplicative hash; exact in float32 for a power of two."""
    counter = np.arange(prod(shape), dtype=np.uint64) + np.uint64(salt << 32)
    mixed = (counter ^ (counter >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15)  # wraps around
    mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xBF58476D1CE4E5B9)
    signed = (mixed >> np.uint64(48)).astype(np.int64) - 2**15
    return torch.from_numpy((signed * (scale / 2**15)).astype(np.float32).reshape(shape))


def write_model(folder: Path, state: ModelState) -> None:
    """Write everything that a training stage leaves."""
    folder.mkdir()
    weights: dict[str, torch.Tensor] = {}
    slots: dict[str, torch.Tensor] = {}
    for salt, (name, shape) in enumerate(parameter_shapes(state.architecture).items()):
        weights[name] = fixed_tensor(shape, salt, 1.0 if name.startswith("transformer.wte") else 0.25)
        gradient = fixed_tensor(shape, salt + 1000, 2**-7)
        if ".h." in name:
            moment = torch.full(second_moment_shape((shape[0], shape[1])), 2.0**-8)
            slots |= {f"{name}.momentum": gradient, f"{name}.second_moment": moment}
        else:
            slots |= {f"{name}.first_moment": gradient, f"{name}.second_moment": gradient.square()}
            slots[f"{name}.updates"] = torch.tensor(state.step)
    checkpoint.save(folder, state, weights)
    save_file(slots, folder / "optimizer.safetensors")
    losses = [{"step": step, "loss": 5.0 - step / 8} for step in range(state.step)]
    metrics = [{"step": 3, "validation_bpb": 2.5}, {"step": 6, "validation_bpb": 2.25}]
    for name, records in (("loss.jsonl", losses), ("metrics.jsonl", metrics)):
        (folder / name).write_text("".join(json.dumps(record) + "\n" for record in records))
