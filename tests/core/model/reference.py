"""The architecture written out in float64, from its formulas: what the fast model must compute.

Shares no code with `core.model` but the dataclass of shapes: one sequence, one head and one layer at a time, softmax
over an explicit -inf mask, nothing fused, cached or chunked. Weights are given by the names of the checkpoints.

Shapes: T tokens, n width, h MLP width, D head width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

import torch
from torch import Tensor

from core.model.architecture import Architecture

Weights = Mapping[str, Tensor]  # float64, matrices [outputs, inputs]
UNSUPERVISED = -1


def rms_norm(x: Tensor, epsilon: float) -> Tensor:
    """x / sqrt(mean(x^2) + epsilon) over the last axis."""
    return x / torch.sqrt((x * x).mean(dim=-1, keepdim=True) + epsilon)


def rotate(x: Tensor, base: float) -> Tensor:
    """Turn x [T, D] by minus its position: pair (j, j + D/2) of row t by the angle t base^(-2j/D)."""
    length, width = x.shape
    half = width // 2
    columns: list[Tensor] = [torch.empty(0)] * width
    for pair in range(half):
        angle = torch.arange(length, dtype=torch.float64) * base ** (-2 * pair / width)
        first, second = x[:, pair], x[:, pair + half]
        columns[pair] = first * torch.cos(angle) + second * torch.sin(angle)
        columns[pair + half] = -first * torch.sin(angle) + second * torch.cos(angle)
    return torch.stack(columns, dim=1)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal softmax attention of one head, [T, D] each."""
    length, width = query.shape
    scores = torch.einsum("td,sd->ts", query, key) / sqrt(width)
    scores = scores + torch.full((length, length), -torch.inf, dtype=torch.float64).triu(diagonal=1)
    exponentials = torch.exp(scores - scores.max(dim=1, keepdim=True).values)
    return (exponentials / exponentials.sum(dim=1, keepdim=True)) @ value


def attention(weights: Weights, prefix: str, architecture: Architecture, x: Tensor, use_rope: bool) -> Tensor:
    """Attention of one layer on the normed stream x [T, n]; head i reads key/value head i Hkv / H."""
    size = architecture.head_width
    outputs = []
    for head in range(architecture.heads):
        group = head // (architecture.heads // architecture.key_value_heads)
        query = x @ weights[f"{prefix}.c_q.weight"][head * size : (head + 1) * size].T  # [T, D]
        key = x @ weights[f"{prefix}.c_k.weight"][group * size : (group + 1) * size].T
        value = x @ weights[f"{prefix}.c_v.weight"][group * size : (group + 1) * size].T
        if use_rope:
            query, key = rotate(query, architecture.rope_base), rotate(key, architecture.rope_base)
        query, key = rms_norm(query, architecture.norm_epsilon), rms_norm(key, architecture.norm_epsilon)
        outputs.append(attend(query, key, value))
    return torch.cat(outputs, dim=1) @ weights[f"{prefix}.c_proj.weight"].T


def mlp(weights: Weights, prefix: str, architecture: Architecture, x: Tensor) -> Tensor:
    """SwiGLU or squared ReLU on the normed stream x [T, n]."""
    if architecture.mlp == "swiglu":
        gate = x @ weights[f"{prefix}.w_gate.weight"].T  # [T, h]
        hidden = gate / (1 + torch.exp(-gate)) * (x @ weights[f"{prefix}.w_up.weight"].T)
    else:
        hidden = x @ weights[f"{prefix}.c_fc.weight"].T
        hidden = torch.where(hidden > 0, hidden * hidden, 0.0)
    return hidden @ weights[f"{prefix}.c_proj.weight"].T


def logits(weights: Weights, architecture: Architecture, tokens: Tensor, use_rope: bool) -> Tensor:
    """Softcapped logits [T, V] of the token after each of tokens int64 [T]."""
    epsilon, cap = architecture.norm_epsilon, architecture.logit_softcap
    x = weights["transformer.wte.weight"][tokens]  # [T, n]
    if architecture.normalize_embedding:
        x = rms_norm(x, epsilon)
    for layer in range(architecture.depth):
        prefix = f"transformer.h.{layer}"
        x = x + attention(weights, f"{prefix}.attn", architecture, rms_norm(x, epsilon), use_rope)
        x = x + mlp(weights, f"{prefix}.mlp", architecture, rms_norm(x, epsilon))
    return cap * torch.tanh(rms_norm(x, epsilon) @ weights["lm_head.weight"].T / cap)


def mean_loss(weights: Weights, architecture: Architecture, inputs: Tensor, targets: Tensor, use_rope: bool) -> Tensor:
    """Mean nats of the supervised ones among targets [B, T], given inputs [B, T]."""
    nats = []
    for row, wanted in zip(inputs, targets, strict=True):
        scores = logits(weights, architecture, row, use_rope)
        for position in range(len(row)):
            target = int(wanted[position])
            if target != UNSUPERVISED:
                nats.append(torch.log(torch.exp(scores[position]).sum()) - scores[position, target])
    return torch.stack(nats).mean()
