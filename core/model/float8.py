"""Matrix products in 8 bits: y = x W^T and its two gradients on Hopper's FP8 tensor cores, at twice bf16's peak.

    y = x W^T,   dx = dy W,   dW = dy^T x        x and W in e4m3 (4 bits of precision), dy in e5m2 (3, more range)

Every operand is scaled as a whole, by what it holds now: values * s with s = dtype max / max |values|, the product
multiplied by 1/s of both in float32. Sums are float32 (`y` with the faster, shorter accumulation, gradients without);
results are bfloat16. Weights stay float32 masters under their own names, so checkpoints do not know about FP8.
The largest value is that of one micro-batch on one rank: their sizes enter the result, as FP8 rounding.

Decisions:
- every matrix of the layers; not lm_head, whose gradient decides the loss directly (its product is chunked anyway),
  nor the embedding, which is a lookup.
- without gradients (validation, samples) products are bfloat16: what is measured is the model that will be used.
- backward keeps x and W as FP8: 1 byte a value instead of 2.
- 1e-30 is the smallest maximum that is scaled up to the dtype's, far below the customary 1e-12: gradients of a mean
  over 2^20 tokens are 1e-9 when lm_head has its initial .001. Scales and their inverses stay normal float32 numbers.
- a value that is not finite makes the whole result not finite, so that training stops instead of clipping it.

Own code instead of torchao 0.18's Float8Linear, whose numbers it equals: for 4096 tokens through 1280 x 3456, errors
against float64 of y, dx, dW are 3.75, 5.91, 5.90 % here and 3.75, 5.90, 5.89 % there. It keeps x in bfloat16 for the
backward pass, scales and casts x and W a second time there, and would be one more package on a GPU node whose build has
to match torch's. What it offers beyond this page (scales by row, FSDP gathers in FP8) the recipes do not use.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn.functional import ScalingType

from core.model.transformer import Linear
from core.stages.context import StageError

SMALLEST_MAXIMUM = 1e-30
ALIGNMENT = 16  # cuBLAS: both sides of every FP8 operand


def use_float8(trunk: nn.Module) -> None:
    """Replace every `Linear` of the layers by one that trains in FP8; weights, names and devices stay.

    Raises `StageError` naming a matrix whose sides are not multiples of 16.
    """
    for name, linear in list(trunk.named_modules()):
        if isinstance(linear, Linear):
            if linear.in_features % ALIGNMENT or linear.out_features % ALIGNMENT:
                raise StageError(
                    f"precision fp8: {name}.weight is {linear.out_features} x {linear.in_features}, but both sides "
                    f"must be multiples of {ALIGNMENT}; use precision bf16, or other widths"
                )
            replacement = Float8Linear(linear.in_features, linear.out_features)
            replacement.weight = linear.weight
            trunk.set_submodule(name, replacement)


class Float8Linear(Linear):
    """y = x W^T for x of any leading shape [..., inputs]; bfloat16, in FP8 where gradients are wanted."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return super().forward(x)
        y: Tensor = _Float8Product.apply(x.flatten(0, -2), self.weight)  # type: ignore[no-untyped-call]
        return y.view(*x.shape[:-1], -1)


class _Float8Product(torch.autograd.Function):
    """x [M, K], weight [N, K] -> [M, N]; M is a multiple of 16, as K and N are."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor) -> Tensor:
        x8, x_unit = quantize(x, torch.float8_e4m3fn)
        weight8, weight_unit = quantize(weight, torch.float8_e4m3fn)
        ctx.save_for_backward(x8, x_unit, weight8, weight_unit)
        return scaled_product(x8, x_unit, weight8, weight_unit, use_fast_accum=True)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> tuple[Tensor, Tensor]:
        x8, x_unit, weight8, weight_unit = ctx.saved_tensors
        y8, y_unit = quantize(upstream[0], torch.float8_e5m2)
        x_gradient = scaled_product(y8, y_unit, weight8.t().contiguous(), weight_unit, use_fast_accum=False)
        weight_gradient = scaled_product(y8.t().contiguous(), y_unit, x8.t().contiguous(), x_unit, use_fast_accum=False)
        return x_gradient, weight_gradient


def quantize(values: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return `values` [M, K] in an FP8 dtype, row-major, and the float32 scalar that one unit of them stands for."""
    largest = values.abs().amax().float().clamp_min(SMALLEST_MAXIMUM)
    scale = torch.finfo(dtype).max / largest
    return (values.float() * scale).to(dtype, memory_format=torch.contiguous_format), scale.reciprocal()


def scaled_product(a: Tensor, a_unit: Tensor, b: Tensor, b_unit: Tensor, *, use_fast_accum: bool) -> Tensor:
    """a b^T in bfloat16 [M, N] of row-major FP8 operands [M, K] and [N, K], the one layout that Hopper multiplies."""
    return F.scaled_mm(
        a,
        b.t(),
        a_unit,
        ScalingType.TensorWise,
        b_unit,
        ScalingType.TensorWise,
        output_dtype=torch.bfloat16,
        use_fast_accum=use_fast_accum,
    )
