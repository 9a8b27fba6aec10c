"""Muon and AdamW written out in float64, one parameter at a time, from their papers' formulas."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.recipes.optimization import AdamW, Muon
from core.training.schedule import Rates

QUINTICS = {
    "polar-express": [
        (8.156554524902461, -22.48329292557795, 15.878769915207462),
        (4.042929935166739, -2.808917465908714, 0.5000178451051316),
        (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
        (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
        (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
    ],
    "newton-schulz": [(3.4445, -4.7750, 2.0315)] * 5,
}


@dataclass
class ReferenceMuon:
    """One matrix, its momentum and, for NorMuon, its second moment."""

    parameter: Tensor  # float64 [rows, columns]
    muon: Muon

    def __post_init__(self) -> None:
        rows, columns = self.parameter.shape
        self.axis = 1 if rows >= columns else 0  # averaged over by the second moment
        self.momentum = torch.zeros_like(self.parameter)
        self.second_moment = self.momentum.mean(self.axis, keepdim=True)

    def step(self, gradient: Tensor, rates: Rates) -> None:
        mu = rates.momentum
        self.momentum = mu * self.momentum + (1 - mu) * gradient
        update = self.orthogonalized((1 - mu) * gradient + mu * self.momentum)
        beta = self.muon.second_moment_beta
        if beta is not None:
            mean_square = (update * update).mean(self.axis, keepdim=True)
            self.second_moment = beta * self.second_moment + (1 - beta) * mean_square
            evened = update / self.second_moment.sqrt()
            update = evened * update.norm() / evened.norm()
        rows, columns = self.parameter.shape
        rate = self.muon.peak_rate * rates.multiplier * max(1.0, rows / columns) ** 0.5
        agree = (update * self.parameter >= 0).double()
        self.parameter = self.parameter - rate * update - rate * rates.weight_decay * agree * self.parameter

    def orthogonalized(self, update: Tensor) -> Tensor:
        polar = self.muon.orthogonalization == "polar-express"
        norm = (update * update).sum().sqrt()
        x = update / (1.01 * norm + 1e-6) if polar else update / (norm + 1e-7)
        for a, b, c in QUINTICS[self.muon.orthogonalization]:
            cubed = x @ x.T @ x
            x = a * x + b * cubed + c * (x @ x.T @ cubed)
        return x


@dataclass
class ReferenceAdamW:
    """One table and its two moments."""

    parameter: Tensor  # float64
    adamw: AdamW

    def __post_init__(self) -> None:
        self.first_moment = torch.zeros_like(self.parameter)
        self.second_moment = torch.zeros_like(self.parameter)
        self.updates = 0

    def step(self, gradient: Tensor, rates: Rates) -> None:
        adamw = self.adamw
        self.updates += 1
        self.first_moment = adamw.beta1 * self.first_moment + (1 - adamw.beta1) * gradient
        self.second_moment = adamw.beta2 * self.second_moment + (1 - adamw.beta2) * gradient * gradient
        first = self.first_moment / (1 - adamw.beta1**self.updates)
        second = self.second_moment / (1 - adamw.beta2**self.updates)
        rate = adamw.peak_rate * rates.multiplier
        decayed = self.parameter - rate * adamw.weight_decay * self.parameter
        self.parameter = decayed - rate * first / (second.sqrt() + adamw.epsilon)
