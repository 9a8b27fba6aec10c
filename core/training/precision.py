"""From a recipe's precision to a model in memory, and the numerics that a run's bits depend on.

- fp32: everything is float32.
- bf16: activations, the input embedding and its optimizer moments are bfloat16, and Muon orthogonalises in it;
  all other weights, gradients and moments are float32, cast where they are multiplied. There is no autocast:
  activations take the embedding's dtype (see `core.model.transformer`).
- fp8 needs the kernels of the full-size training core, which this version does not have: it says so.

Bit-identity holds within one numerics domain: device, torch version, precision, ranks, and on CPUs threads.
"""

from __future__ import annotations

import os

import torch

from core.model.architecture import Architecture
from core.model.transformer import Transformer
from core.recipes.recipe import Precision
from core.stages.context import StageError


def build_model(architecture: Architecture, precision: Precision, use_rope: bool, device: torch.device) -> Transformer:
    """Return a model of uninitialised memory on `device`, in the dtypes that `precision` trains in."""
    if precision == "fp8":
        raise StageError(
            "precision fp8 comes with the full-size training core, which this version does not have; "
            "use a recipe with precision bf16 or fp32"
        )
    with torch.device("meta"):
        model = Transformer(architecture, use_rope=use_rope)
    if precision == "bf16":
        model.transformer.wte.to(torch.bfloat16)
    return model.to_empty(device=device)


def fix_numerics() -> None:
    """Make this process deterministic: fixed threads, deterministic kernels wherever torch has them."""
    threads = os.environ.get("OMP_NUM_THREADS")
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(int(threads) if threads else max(1, (os.cpu_count() or 1) // ranks))
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
