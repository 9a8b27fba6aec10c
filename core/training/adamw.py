"""AdamW (arXiv 1711.05101) on one table, state in the table's own dtype.

p <- p (1 - rate * decay);  m <- lerp(m, g, 1 - beta1);  v <- lerp(v, g^2, 1 - beta2)
p <- p - rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
"""

from __future__ import annotations

from math import sqrt

from torch import Tensor

from core.recipes.optimization import AdamW


def adamw_step(
    parameter: Tensor,
    gradient: Tensor,
    first_moment: Tensor,
    second_moment: Tensor,
    *,
    adamw: AdamW,
    multiplier: float,
    updates: int,
) -> None:
    """Take update number `updates` (from 1) in place, at `multiplier` times the peak rate."""
    rate = adamw.peak_rate * multiplier
    first_moment.lerp_(gradient, 1 - adamw.beta1)
    second_moment.lerp_(gradient.square(), 1 - adamw.beta2)
    denominator = second_moment.sqrt().div_(sqrt(1 - adamw.beta2**updates)).add_(adamw.epsilon)
    parameter.mul_(1 - rate * adamw.weight_decay)
    parameter.addcdiv_(first_moment, denominator, value=-rate / (1 - adamw.beta1**updates))
