"""The seed of the miniseries: the nanochat fork crelliscmu/nanochat, imported from a checkout, never copied here.

It gets our weights, which have its names, and our recipe's rates, written into its optimizer's groups; how it takes
a step is then its training script's: a compiled model, the mean loss of each micro-batch over their number, its
fused optimizer, gradients set to None.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from benchmarks.support.contestant import Contest
from core.model.architecture import Architecture
from core.recipes.optimization import AdamW, Optimization
from core.training.schedule import Rates

REPOSITORY = "https://github.com/crelliscmu/nanochat"
COMMIT = "72dfc77f3a246b63092003bd2ca9cceae2f33ef2"
EPSILON = torch.finfo(torch.float32).eps  # of its RMSNorm, which leaves torch's default: 1.19e-7


class CheckoutError(Exception):
    """There is nothing to compare with; says how to get it."""


def load(checkout: Path | None, dtype: torch.dtype) -> ModuleType:
    """Import `nanochat.gpt` of a checkout, computing in `dtype`. Raises `CheckoutError`."""
    if checkout is None or not (checkout / "nanochat" / "gpt.py").is_file():
        folder = checkout or Path("../nanochat")
        raise CheckoutError(
            f"no checkout of the seed fork: git clone {REPOSITORY} {folder} && git -C {folder} checkout {COMMIT[:7]}, "
            f"then --checkout {folder}"
        )
    os.environ["NANOCHAT_DTYPE"] = str(dtype).removeprefix("torch.")
    sys.path.insert(0, str(checkout))
    return importlib.import_module("nanochat.gpt")


def check_shape(architecture: Architecture, optimization: Optimization) -> None:
    """Raise `CheckoutError` for a recipe whose constants the fork has not got: they are literals in its code."""
    fixed = (architecture.mlp, architecture.normalize_embedding, architecture.rope_base, architecture.logit_softcap)
    if fixed != ("swiglu", False, 100_000.0, 15.0) or optimization.gradient_clip is not None:
        raise CheckoutError("the seed fork has no such model; choose a tag of the miniseries or of the tiny family")


class SeedFork:
    """The fork's model and optimizer, taking steps as its `scripts/base_train.py` does."""

    def __init__(self, gpt: ModuleType, contest: Contest, weights: dict[str, Tensor], *, name: str) -> None:
        architecture = contest.architecture
        config = gpt.GPTConfig(
            sequence_len=architecture.sequence_length,
            vocab_size=architecture.vocabulary_size,
            n_layer=architecture.depth,
            n_head=architecture.heads,
            n_kv_head=architecture.key_value_heads,
            n_embd=architecture.width,
        )
        with torch.device("meta"):
            model = gpt.GPT(config)
        model.to_empty(device=contest.device)
        model.init_weights()  # makes the rotary tables; the weights it draws are overwritten
        model.load_state_dict(weights)
        self.name, self._contest, self._model = name, contest, model
        self._forward: Any = model
        with redirect_stdout(StringIO()):  # it prints a rate that is overwritten next
            self._optimizer = model.setup_optimizer()
        self._set_peaks(contest.optimization)

    def compile(self) -> None:
        """Compile the model as the fork's training script does."""
        self._forward = torch.compile(self._model, dynamic=False)

    def step(self, number: int, inputs: Tensor, targets: Tensor) -> float:
        """One step, its gradient added up over micro-batches of equal size."""
        parts = self._contest.micro_batches(inputs, targets)
        losses = []
        with _any_kernels():
            for part, wanted in parts:
                loss = self._forward(part, wanted)
                losses.append(loss.detach())
                (loss / len(parts)).backward()
            self._set_rates(self._contest.rates(number))
            self._optimizer.step()
            self._model.zero_grad(set_to_none=True)
        return float(torch.stack(losses).mean())

    def logits(self, tokens: Tensor, use_rope: bool) -> Tensor:
        """Of the weights as they are now."""
        self._model.use_rope = use_rope
        with torch.no_grad():
            logits: Tensor = self._model(tokens)
        self._model.use_rope = True
        return logits

    def _set_rates(self, rates: Rates) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rates.multiplier
            if group["kind"] == "muon":
                group["momentum"], group["weight_decay"] = rates.momentum, rates.weight_decay

    def _set_peaks(self, optimization: Optimization) -> None:
        unembedding, embedding, *matrices = self._optimizer.param_groups
        _set_adamw(unembedding, optimization.unembedding)
        _set_adamw(embedding, optimization.embedding)
        for group in matrices:
            group["initial_lr"] = optimization.matrices.peak_rate
            group["beta2"] = optimization.matrices.second_moment_beta


@contextmanager
def _any_kernels() -> Iterator[None]:
    """Leave torch's deterministic mode, which is our choice and not the fork's."""
    chosen = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(chosen)


def _set_adamw(group: dict[str, Any], adamw: AdamW) -> None:
    group.update(
        initial_lr=adamw.peak_rate,
        betas=(adamw.beta1, adamw.beta2),
        eps=adamw.epsilon,
        weight_decay=adamw.weight_decay,
    )
