"""Muon (Jordan et al., 2024) for matrices of one shape, stacked: momentum, orthogonalised, steps of even size.

For each gradient g [rows, columns], with momentum mu:
    m <- lerp(m, g, 1 - mu);  u = lerp(g, m, mu)                                      Nesterov
    u <- about U V^T of u = U S V^T, by 5 odd polynomials in u, stated per method     orthogonalisation
    u <- u / sqrt(second moment), rescaled to the norm it had                         NorMuon (arXiv 2510.05491)
    p <- p - r (u + decay * p where u p >= 0),  r = rate sqrt(max(1, rows/columns))   cautious decay (arXiv 2510.12402)
NorMuon's second moment is factored: one number per row of a tall matrix, per column of a wide one.
Matrices of one shape take each product in one batched multiplication.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from core.recipes.optimization import Muon
from core.training.schedule import Rates

Coefficients = tuple[float, float, float]  # of u, u^3, u^5

# Polar Express (Amsel et al., arXiv 2505.16932): the best odd quintic for each iteration in turn.
POLAR_EXPRESS: tuple[Coefficients, ...] = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)
# Newton-Schulz with Jordan's coefficients: steepest at 0, singular values end between .7 and 1.2.
NEWTON_SCHULZ: tuple[Coefficients, ...] = ((3.4445, -4.7750, 2.0315),) * 5


def orthogonalize(matrices: Tensor, muon: Muon, dtype: torch.dtype) -> Tensor:
    """Replace the singular values of [K, rows, columns] by about 1, computing in `dtype`, which is returned.

    Each matrix is first scaled to spectral norm <= 1 by its Frobenius norm; Polar Express leaves 1 % of room,
    because rounding must not take a singular value beyond 1.
    """
    if muon.orthogonalization == "polar-express":
        coefficients, room, floor = POLAR_EXPRESS, 1.01, 1e-6
    else:
        coefficients, room, floor = NEWTON_SCHULZ, 1.0, 1e-7
    x = matrices.to(dtype)
    tall = x.size(-2) > x.size(-1)
    if tall:
        x = x.mT  # the Gram matrix below is then the smaller one
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * room + floor)
    for a, b, c in coefficients:
        gram = x @ x.mT  # [K, short, short]
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def second_moment_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Shape of NorMuon's second moment for a matrix: rows of a tall or square one, columns of a wide one."""
    rows, columns = shape
    return (rows, 1) if rows >= columns else (1, columns)


def normalize_rows(update: Tensor, second_moment: Tensor, beta: float) -> Tensor:
    """NorMuon on [K, rows, columns]: even out rows (or columns) by their running second moment, norm kept.

    `second_moment` [K, rows, 1] (or [K, 1, columns]) is updated in place.
    """
    axis = -1 if second_moment.size(-1) == 1 else -2
    mean_square = update.square().mean(dim=axis, keepdim=True)
    second_moment.lerp_(mean_square, 1 - beta)
    scale = second_moment.clamp_min(1e-10).rsqrt()
    before = mean_square.sum(dim=(-2, -1), keepdim=True).sqrt()
    after = (mean_square * scale.square()).sum(dim=(-2, -1), keepdim=True).sqrt()
    return update * (scale * (before / after.clamp_min(1e-10)))


def muon_step(
    parameters: Tensor,
    gradients: Tensor,
    momentum: Tensor,
    second_moment: Tensor | None,
    *,
    muon: Muon,
    rates: Rates,
    dtype: torch.dtype,
) -> Tensor:
    """Return the parameters [K, rows, columns] after one step; momentum and second moment are updated in place."""
    momentum.lerp_(gradients, 1 - rates.momentum)
    update = orthogonalize(gradients.lerp(momentum, rates.momentum), muon, dtype).to(parameters.dtype)
    if second_moment is not None and muon.second_moment_beta is not None:
        update = normalize_rows(update, second_moment, muon.second_moment_beta)
    rows, columns = parameters.shape[-2:]
    rate = muon.peak_rate * rates.multiplier * sqrt(max(1.0, rows / columns))
    if rates.weight_decay:
        aligned = update * parameters >= 0
        update = update + (rates.weight_decay * aligned) * parameters
    return parameters - rate * update
