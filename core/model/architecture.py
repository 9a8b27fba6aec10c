"""What a model is, before any tensor exists: the shapes, and the parameter counts that follow from them.

Free of torch, so that planning 20 models costs milliseconds. Counts follow facts of the seed series:
d18 has 362,151,936 parameters, d20 480,378,880, the bidirectional d20 560,988,160.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mlp = Literal["swiglu", "relu2"]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Shapes and constants of one decoder-only transformer; every field is part of a model's identity."""

    depth: int  # layers L
    width: int  # residual stream n
    heads: int
    key_value_heads: int
    head_width: int
    mlp: Mlp
    mlp_width: int  # h
    vocabulary_size: int  # V
    sequence_length: int  # T, tokens
    rope_base: float  # theta
    logit_softcap: float  # c in c * tanh(z / c)
    norm_epsilon: float
    normalize_embedding: bool  # RMSNorm between the embedding and the first layer

    def __post_init__(self) -> None:
        if self.heads * self.head_width != self.width:
            raise ValueError(
                f"architecture: heads x head_width = {self.heads} x {self.head_width} must equal width {self.width}"
            )
        if self.heads % self.key_value_heads:
            raise ValueError(
                f"architecture: {self.heads} heads cannot share {self.key_value_heads} key/value heads evenly"
            )

    @property
    def matrix_parameters(self) -> int:
        """Parameters of all transformer matrices: attention 2n(n + kv) and the MLP, per layer; no biases, no norms."""
        key_value_width = self.key_value_heads * self.head_width
        attention = 2 * self.width * self.width + 2 * self.width * key_value_width
        mlp = {"swiglu": 3, "relu2": 2}[self.mlp] * self.width * self.mlp_width
        return self.depth * (attention + mlp)

    @property
    def scaling_parameters(self) -> int:
        """S: matrices + lm_head. Tokens-per-parameter multiplies this number, not the total."""
        return self.matrix_parameters + self.vocabulary_size * self.width

    @property
    def total_parameters(self) -> int:
        """S + the input embedding (untied)."""
        return self.scaling_parameters + self.vocabulary_size * self.width

    @property
    def flops_per_token(self) -> int:
        """Training FLOPs a token, 6 S + 12 n L T: forward and backward, full (not causally halved) attention."""
        return 6 * self.scaling_parameters + 12 * self.width * self.depth * self.sequence_length

    @property
    def causal_flops_per_token(self) -> int:
        """Training FLOPs a token, 6 S + 6 n L T: of the attention only the half that a causal mask leaves."""
        return 6 * self.scaling_parameters + 6 * self.width * self.depth * self.sequence_length


def swiglu_width(width: int) -> int:
    """8n/3 to the nearest multiple of 128: 1152 -> 3072, 1280 -> 3456, 768 -> 2048."""
    return 128 * round(8 * width / 3 / 128)
