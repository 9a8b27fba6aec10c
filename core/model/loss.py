"""Next-token cross-entropy from the final residual stream, without ever holding all logits.

loss = sum over supervised tokens of  log sum_v exp(l_v) - l_target,   l = c tanh(z/c),   z = h W^T

Rows of logits are made a chunk at a time, and their gradients at once:
    dl/dz = 1 - tanh^2(z/c),   dz = (softmax(l) - onehot(target)) (1 - tanh^2(z/c)),   dh = dz W,   dW = dz^T h
The softcap bounds l by c, so exp needs no maximum subtracted: with c = 15, exp(l + c) stays below 2^44. Sums over the
vocabulary and dW over chunks are float32. Rows that supervise nothing cost 0 and have gradient 0.

Two ways to the same numbers, by device:
- CPU: in place, float32, in chunks that stay in cache, by s = sigmoid(2z/c): l + c = 2cs, dl/dz = 4s(1 - s). There a
  sigmoid takes .26 ms per million values, a tanh 1.38. The tiny model (2,048 tokens, V 2,048, two cores) needed 33 ms
  with tanh, 22 of them matrix products; the other way takes 42 ms eager, and compiled 29 ms after 18 s of compiling.
- CUDA: compiled, from bfloat16 logits to nats and bfloat16 gradients. Counted, not yet timed on a GPU: 6 bytes of
  traffic a logit (read, read again, written), where a dozen eager passes over float32 make 100. Nothing is scattered,
  so it is deterministic.

Memory, d20 at 16 x 4096 tokens, V 32,768: all logits would be 8.6 GB for each of several float32 copies. Alive at the
peak of this page are 1.5 GiB for a chunk's logits, its gradient and that of the chunk before, 2 x 168 MB of hidden
states and their gradient (h, dh), 84 MB for W in bfloat16, 168 MB for dW, and what the trunk keeps for its backward
pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from core.model.transformer import Transformer

IGNORED = -1  # a target that is not supervised


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
        return hidden_nats(model, model.hidden(inputs), targets)


def hidden_nats(model: Transformer, hidden: Tensor, targets: Tensor) -> Tensor:
    """Nats of each target [B, T] given the residual stream [B, T, n] before it, float32. No gradient."""
    with torch.no_grad():
        stream, weight = hidden.flatten(0, 1), model.lm_head.weight.to(hidden.dtype)
        nats = [
            CHUNK_MATH[hidden.device.type].nats(rows @ weight.T, wanted, model.architecture.logit_softcap)
            for rows, wanted in _chunks(stream, targets.flatten(), weight)
        ]
    return torch.cat(nats).view(targets.shape)


def next_token_loss(model: Transformer, inputs: Tensor, targets: Tensor, scale: float) -> Tensor:
    """Scalar float32: `scale` times the summed nats of the supervised targets. Differentiable once."""
    hidden = model.hidden(inputs).flatten(0, 1)
    nats: Tensor = _SoftcappedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, model.lm_head.weight, targets.flatten(), model.architecture.logit_softcap
    )
    return nats * scale


class _SoftcappedCrossEntropy(torch.autograd.Function):
    """Sum of nats; computes the gradients in the forward pass, while a chunk of logits is at hand."""

    @staticmethod
    def forward(ctx: FunctionCtx, hidden: Tensor, master: Tensor, targets: Tensor, cap: float) -> Tensor:
        weight = master.to(hidden.dtype)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        hidden_gradient = torch.empty_like(hidden)
        weight_gradient = torch.zeros_like(master)
        start = 0
        for rows, wanted in _chunks(hidden, targets, weight):
            nats, gradient = CHUNK_MATH[hidden.device.type].nats_and_gradient(rows @ weight.T, wanted, cap)
            total += nats.sum()
            torch.mm(gradient, weight, out=hidden_gradient[start : start + len(rows)])
            weight_gradient += gradient.T @ rows
            start += len(rows)
        ctx.save_for_backward(hidden_gradient, weight_gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> tuple[Tensor, Tensor, None, None]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        return hidden_gradient * upstream[0], weight_gradient * upstream[0], None, None


def chunk_nats(logits: Tensor, targets: Tensor, cap: float) -> Tensor:
    """Nats [C] of targets [C] given raw logits [C, V], which may be overwritten."""
    raised = logits.float().mul_(2 / cap).sigmoid_().mul_(2 * cap)  # l + c
    target = raised.gather(1, targets.clamp_min(0).unsqueeze(1)).squeeze(1)
    return torch.where(targets == IGNORED, 0.0, raised.exp_().sum(dim=1).log() - target)


def chunk_in_place(logits: Tensor, targets: Tensor, cap: float) -> tuple[Tensor, Tensor]:
    """Nats [C] and gradient [C, V] with as few passes over memory as eager operations allow; overwrites logits."""
    s = logits.float().mul_(2 / cap).sigmoid_()  # [C, V]: l + c = 2 c s, and the softmax does not see the c
    target = targets.clamp_min(0).unsqueeze(1)
    supervised = (targets != IGNORED).unsqueeze(1)
    gradient = (s * (2 * cap)).exp_()
    total = gradient.sum(dim=1, keepdim=True)
    nats = (total.log() - 2 * cap * s.gather(1, target)) * supervised
    gradient *= supervised / total  # softmax, 0 for ignored rows
    gradient.scatter_add_(1, target, -supervised.float())
    gradient *= s.addcmul_(s, s, value=-1).mul_(4)
    return nats.squeeze(1), gradient.to(logits.dtype)


def chunk_fused(logits: Tensor, targets: Tensor, cap: float) -> tuple[Tensor, Tensor]:
    """Nats [C] and gradient [C, V] of raw logits [C, V], written so that a compiler makes one kernel of it."""
    capped = cap * torch.tanh(logits.float() / cap)
    exponentials = capped.exp()
    total = exponentials.sum(dim=1, keepdim=True)
    is_target = torch.arange(logits.size(1), device=logits.device) == targets.unsqueeze(1)
    nats = total.log().squeeze(1) - torch.where(is_target, capped, 0.0).sum(dim=1)
    gradient = (exponentials / total - is_target.float()) * (1 - (capped / cap).square())
    is_ignored = targets == IGNORED
    return nats.masked_fill(is_ignored, 0.0), gradient.masked_fill(is_ignored.unsqueeze(1), 0.0).to(logits.dtype)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` compiled as one graph for each shape, by its first call: importing costs no compiler."""

    @cache
    def graph() -> Any:
        return torch.compile(  # type: ignore[call-overload]
            function, fullgraph=True, dynamic=False, recompile_limit=MAXIMUM_SHAPES
        )

    return lambda *arguments: graph()(*arguments)


@dataclass(frozen=True)
class ChunkMath:
    """How a device computes a chunk."""

    logits: int  # of a chunk
    nats: Callable[[Tensor, Tensor, float], Tensor]
    nats_and_gradient: Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]


MAXIMUM_SHAPES = 32  # of a chunk: whole ones, and the remainders of micro-batches; beyond it compiling raises

CHUNK_MATH = {
    "cpu": ChunkMath(1 << 20, chunk_nats, chunk_in_place),  # float32: 4 MiB
    "cuda": ChunkMath(1 << 28, compiled(chunk_nats), compiled(chunk_fused)),  # bfloat16: 512 MiB, and the gradient
}


def _chunks(hidden: Tensor, targets: Tensor, weight: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    rows = max(1, CHUNK_MATH[hidden.device.type].logits // len(weight))
    for start in range(0, len(hidden), rows):
        yield hidden[start : start + rows], targets[start : start + rows]
