"""Next-token cross-entropy from the final residual stream, without ever holding all logits.

loss = sum over supervised tokens of  log sum_v exp(l_v) - l_target,   l = c tanh(z/c),   z = h W^T

Rows of logits are made a chunk at a time, and their gradients at once, in place:
    dl/dz = 1 - tanh^2(z/c),   dz = (softmax(l) - onehot(target)) (1 - tanh^2(z/c)),   dh = dz W,   dW = dz^T h
So 65,536 tokens of a 32,768 vocabulary need 1 GiB instead of 8 GiB for each of several copies, and two slow CPU
CPU cores find a chunk in cache (a step of the tiny model: 200 ms instead of 290). The softcap bounds l by c, so
exp(l) needs no maximum subtracted: with c = 15 the sum stays below 2^22 V.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from core.model.transformer import Transformer

IGNORED = -1  # a target that is not supervised

CHUNK_LOGITS = {"cpu": 1 << 20, "cuda": 1 << 28}  # float32 logits alive at a time: 4 MiB, 1 GiB


def split_rows(rows: np.ndarray, mask: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
    """Return inputs and targets, int64 [n, T] each, of rows [n, T+1]: a target is IGNORED where its mask is 0."""
    tokens = torch.from_numpy(rows.astype(np.int64))
    targets = tokens[:, 1:].clone()
    if mask is not None:
        targets[torch.from_numpy(mask[:, 1:] == 0)] = IGNORED
    return tokens[:, :-1], targets


def next_token_nats(model: Transformer, inputs: Tensor, targets: Tensor) -> Tensor:
    """Nats of each target [B, T] given its inputs [B, T], float32; 0 where the target is IGNORED. No gradient."""
    with torch.no_grad():
        hidden = model.hidden(inputs).flatten(0, 1)
        weight = model.lm_head.weight.to(hidden.dtype)
        nats = [
            _chunk_nats(_capped(rows @ weight.T, model.architecture.logit_softcap), wanted)[0]
            for rows, wanted in _chunks(hidden, targets.flatten(), weight)
        ]
    return torch.cat(nats).view(targets.shape)


def next_token_loss(model: Transformer, inputs: Tensor, targets: Tensor, scale: float) -> Tensor:
    """Scalar float32: `scale` times the summed nats of the supervised targets. Differentiable once."""
    hidden = model.hidden(inputs).flatten(0, 1)
    cap = model.architecture.logit_softcap
    loss: Tensor = _SoftcappedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, model.lm_head.weight, targets.flatten(), cap, scale
    )
    return loss


class _SoftcappedCrossEntropy(torch.autograd.Function):
    """Computes the gradients in the forward pass, while a chunk of logits is at hand."""

    @staticmethod
    def forward(ctx: FunctionCtx, hidden: Tensor, master: Tensor, targets: Tensor, cap: float, scale: float) -> Tensor:
        weight = master.to(hidden.dtype)
        loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
        hidden_gradient = torch.empty_like(hidden)
        weight_gradient = torch.zeros_like(master)
        start = 0
        for rows, wanted in _chunks(hidden, targets, weight):
            capped = _capped(rows @ weight.T, cap)
            nats, gradient, total = _chunk_nats(capped, wanted)
            loss += nats.sum()
            supervised = (wanted != IGNORED).unsqueeze(1)
            gradient *= supervised * (scale / total)  # [C, V]: scale * softmax, 0 for ignored rows
            gradient.scatter_add_(1, wanted.clamp_min(0).unsqueeze(1), supervised * -scale)
            gradient.addcmul_(gradient, capped.square_(), value=-1 / cap**2)
            narrow = gradient.to(hidden.dtype)
            torch.mm(narrow, weight, out=hidden_gradient[start : start + len(rows)])
            weight_gradient += narrow.T @ rows
            start += len(rows)
        ctx.save_for_backward(hidden_gradient, weight_gradient)
        return loss * scale

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> tuple[Tensor, Tensor, None, None, None]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        return hidden_gradient * upstream[0], weight_gradient * upstream[0], None, None, None


def _chunks(hidden: Tensor, targets: Tensor, weight: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    rows = max(1, CHUNK_LOGITS[hidden.device.type] // len(weight))
    for start in range(0, len(hidden), rows):
        yield hidden[start : start + rows], targets[start : start + rows]


def _capped(logits: Tensor, cap: float) -> Tensor:
    return logits.float().div_(cap).tanh_().mul_(cap)


def _chunk_nats(capped: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return nats [C] (0 where ignored), exp(l) [C, V] and its sum over the vocabulary [C, 1]."""
    exponentials = capped.exp()
    total = exponentials.sum(dim=1, keepdim=True)
    target = capped.gather(1, targets.clamp_min(0).unsqueeze(1))
    return ((total.log() - target).squeeze(1)) * (targets != IGNORED), exponentials, total
