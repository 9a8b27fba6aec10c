"""From a recipe's precision to a model in memory.

- fp32: everything is float32.
- bf16: activations, the input embedding and its optimizer moments are bfloat16, and Muon orthogonalises in it;
  all other weights, gradients and moments are float32, cast where they are multiplied. There is no autocast:
  activations take the embedding's dtype (see `core.model.transformer`).
- fp8: as bf16, and the matrices of the layers are multiplied in 8 bits while training (see `core.model.float8`).
"""

from __future__ import annotations

import torch

from core.model.architecture import Architecture
from core.model.float8 import use_float8
from core.model.transformer import Transformer
from core.recipes.recipe import Precision
from core.stages.context import StageError

FIRST_FLOAT8 = (8, 9)  # compute capability: Ada; Hopper is 9.0


def build_model(architecture: Architecture, precision: Precision, use_rope: bool, device: torch.device) -> Transformer:
    """Return a model of uninitialised memory on `device`, in the dtypes that `precision` trains in.

    Raises `StageError` when fp8 is asked of a GPU that cannot multiply it, or of a matrix whose sides do not allow it.
    """
    if precision == "fp8" and device.type == "cuda" and torch.cuda.get_device_capability(device) < FIRST_FLOAT8:
        raise StageError(
            f"precision fp8: {torch.cuda.get_device_name(device)} cannot multiply it; "
            "use an H100, H200 or newer, or a recipe with precision bf16"
        )
    with torch.device("meta"):
        model = Transformer(architecture, use_rope=use_rope)
        if precision == "fp8":
            use_float8(model.transformer)
    if precision != "fp32":
        model.transformer.wte.to(torch.bfloat16)
    return model.to_empty(device=device)
