"""The decoder of the series: nanochat 4e1694c without its extras, SwiGLU or ReLU^2, with or without positions.

tokens -> embedding -> [norm] -> L x (x += attention(norm(x)); x += mlp(norm(x))) -> norm -> lm_head -> softcap

Decisions:
- RMSNorm has no weights, its epsilon is the architecture's; no linear has a bias; the two embedding tables are untied.
- queries and keys are rotated, then normed per head. Each then has length sqrt(D), so an attention logit
  q.k / sqrt(D) never exceeds sqrt(D).
- `use_rope` False skips the rotation altogether (a DroPE model); it is not a parameter and may be flipped at any time.
- `scaling`, None but where a model is measured beyond its trained length, is none either (see `position_scaling`).
- activations have the dtype of the embedding table; a weight of another dtype is cast where it is used. So float32
  masters train in bfloat16 by casting that one table.
- logits are float32 and softcapped: c tanh(z/c), c = 15.

Shapes: B sequences, T tokens, n width, H query heads, Hkv key/value heads, D head width, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.model.architecture import Architecture
from core.model.initialization import initialize
from core.model.key_value_cache import CacheWindow
from core.model.position_scaling import PositionScaling
from core.model.rotary import Rotation, rotate, rotation


def normalize(x: Tensor, epsilon: float) -> Tensor:
    """RMSNorm over the last axis, without weights; computed in float32 for narrower inputs."""
    return F.rms_norm(x, (x.size(-1),), eps=epsilon)


class Linear(nn.Linear):
    """y = x W^T with the weight cast to the dtype of x; no bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def reset_parameters(self) -> None:
        """Leave the memory as it is: `Transformer.initialize` or a checkpoint fills it."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))


class Embedding(nn.Embedding):
    """A table of vectors, left uninitialised like `Linear`."""

    def reset_parameters(self) -> None:
        """Leave the memory as it is."""


class Attention(nn.Module):
    """Causal attention of one layer, with grouped key/value heads."""

    def __init__(self, architecture: Architecture, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_width = architecture.head_width
        self.epsilon = architecture.norm_epsilon
        self.grouped = architecture.key_value_heads != architecture.heads
        key_value_width = architecture.key_value_heads * architecture.head_width
        self.c_q = Linear(architecture.width, architecture.width)
        self.c_k = Linear(architecture.width, key_value_width)
        self.c_v = Linear(architecture.width, key_value_width)
        self.c_proj = Linear(architecture.width, architecture.width)

    def forward(
        self, x: Tensor, positions: Rotation | None, window: CacheWindow | None, query_scale: Tensor | None = None
    ) -> Tensor:
        batch, length, width = x.shape
        query, key, value = (
            project(x).view(batch, length, -1, self.head_width) for project in (self.c_q, self.c_k, self.c_v)
        )  # [B, T, H or Hkv, D]
        if positions is not None:
            query, key = rotate(query, positions), rotate(key, positions)
        query = normalize(query, self.epsilon)
        if query_scale is not None:
            query = query * query_scale
        query = query.to(value.dtype)
        key = normalize(key, self.epsilon).to(value.dtype)
        mask = None
        causal = length > 1
        if window is not None:
            key, value = window.extend(self.layer, key, value)
            mask = window.mask
            causal = causal and mask is None
        y = F.scaled_dot_product_attention(
            query.transpose(1, 2),  # [B, H, T, D]
            key.transpose(1, 2),
            value.transpose(1, 2),
            attn_mask=mask,
            is_causal=causal,
            enable_gqa=self.grouped,
        )
        projected: Tensor = self.c_proj(y.transpose(1, 2).reshape(batch, length, width))
        return projected


class SwiGLU(nn.Module):
    """c_proj(silu(w_gate x) * w_up x)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w_gate = Linear(width, hidden)
        self.w_up = Linear(width, hidden)
        self.c_proj = Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.c_proj(F.silu(self.w_gate(x)) * self.w_up(x))
        return projected


class ReLU2(nn.Module):
    """c_proj(relu(c_fc x)^2)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.c_fc = Linear(width, hidden)
        self.c_proj = Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.c_proj(F.relu(self.c_fc(x)).square())
        return projected


class Block(nn.Module):
    """One layer: attention, then MLP, each reading a norm of the residual stream and adding to it."""

    def __init__(self, architecture: Architecture, layer: int) -> None:
        super().__init__()
        self.epsilon = architecture.norm_epsilon
        self.attn = Attention(architecture, layer)
        mlp = {"swiglu": SwiGLU, "relu2": ReLU2}[architecture.mlp]
        self.mlp = mlp(architecture.width, architecture.mlp_width)

    def forward(
        self, x: Tensor, positions: Rotation | None, window: CacheWindow | None, query_scale: Tensor | None = None
    ) -> Tensor:
        x = x + self.attn(normalize(x, self.epsilon), positions, window, query_scale)
        mixed: Tensor = x + self.mlp(normalize(x, self.epsilon))
        return mixed


class Trunk(nn.Module):
    """Everything but lm_head, under the names that nanochat's checkpoints give it; training compiles it as one graph.

    Positions come from outside, so that the graph holds no float64 and their presence alone tells two graphs apart.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.epsilon = architecture.norm_epsilon
        self.normalize_embedding = architecture.normalize_embedding
        self.wte = Embedding(architecture.vocabulary_size, architecture.width)
        self.h = nn.ModuleList(Block(architecture, layer) for layer in range(architecture.depth))

    def forward(
        self, tokens: Tensor, positions: Rotation | None, window: CacheWindow | None, query_scale: Tensor | None = None
    ) -> Tensor:
        """Final normed residual stream [B, T, n] of tokens int64 [B, T]."""
        x: Tensor = self.wte(tokens)
        if self.normalize_embedding:
            x = normalize(x, self.epsilon)
        for block in self.h:
            x = block(x, positions, window, query_scale)
        return normalize(x, self.epsilon)


class Transformer(nn.Module):
    """The language model. Parameters are uninitialised memory until `initialize` or a checkpoint fills them."""

    def __init__(self, architecture: Architecture, use_rope: bool = True) -> None:
        super().__init__()
        self.architecture = architecture
        self.use_rope = use_rope
        self.scaling: PositionScaling | None = None
        self.transformer = Trunk(architecture)
        self.lm_head = Linear(architecture.width, architecture.vocabulary_size)

    def initialize(self, seed: int) -> None:
        """Fill every parameter with its initial value, the same on every device."""
        initialize(self.named_parameters(), self.architecture, seed)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.lm_head.weight.device

    def hidden(self, tokens: Tensor, window: CacheWindow | None = None) -> Tensor:
        """Final normed residual stream [B, T, n] of tokens int64 [B, T] that follow those in the rows of `window`.

        Raises ValueError when the cache of the window was made for another scaling of positions.
        """
        if window is not None and window.scaling != self.scaling:
            raise ValueError(f"the cache is for {window.scaling}, the model reads with {self.scaling}; make it anew")
        scale = self._query_scale(tokens, window)
        x: Tensor = self.transformer(tokens, self._positions(tokens, window), window, scale)
        if window is not None:
            window.advance()
        return x

    def _positions(self, tokens: Tensor, window: CacheWindow | None) -> Rotation | None:
        if not self.use_rope:
            return None
        if window is not None:
            return window.rotation()
        width, base = self.architecture.head_width, self.architecture.rope_base
        return rotation(0, tokens.size(1), width, base, tokens.device, self.scaling)

    def _query_scale(self, tokens: Tensor, window: CacheWindow | None) -> Tensor | None:
        """What multiplies the queries, float32 [T, 1, 1] or [B, T, 1, 1]; None for 1."""
        if self.scaling is None:
            return None
        positions = torch.arange(tokens.size(1), device=tokens.device) if window is None else window.positions
        scale = self.scaling.query_scale(positions)
        return None if scale is None else scale.unsqueeze(-1).unsqueeze(-1)

    def logits(self, hidden: Tensor) -> Tensor:
        """Softcapped float32 logits [..., V] of hidden [..., n]: |logit| < c."""
        cap = self.architecture.logit_softcap
        return cap * torch.tanh(self.lm_head(hidden).float() / cap)

    def forward(self, tokens: Tensor, window: CacheWindow | None = None) -> Tensor:
        """Logits float32 [B, T, V] of the token after each of tokens int64 [B, T], which follow those in `window`."""
        return self.logits(self.hidden(tokens, window))
