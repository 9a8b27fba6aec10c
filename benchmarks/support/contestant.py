"""What a comparison of training programs asks of each; and our own: model, loss and optimizer as stages use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from core.model.architecture import Architecture
from core.model.loss import IGNORED, next_token_loss
from core.recipes.optimization import Optimization
from core.recipes.recipe import Precision
from core.training.distributed import current_world
from core.training.numerics import compile_where_it_pays
from core.training.optimizer import Optimizer
from core.training.precision import build_model
from core.training.schedule import Rates, pretraining_rates

Batch = tuple[Tensor, Tensor]  # inputs and targets, int64 [B, T]


@dataclass(frozen=True, kw_only=True)
class Contest:
    """What is equal for all: shapes, dtypes, rates, horizon, rows of one forward pass."""

    architecture: Architecture
    precision: Precision
    optimization: Optimization
    steps: int  # horizon of the schedules
    micro_batch: int  # rows
    device: torch.device

    def rates(self, step: int) -> Rates:
        """Rates of a step; those of the last one beyond the horizon, where only speed is measured."""
        return pretraining_rates(self.optimization, min(step, self.steps - 1), self.steps)

    def micro_batches(self, inputs: Tensor, targets: Tensor) -> list[Batch]:
        """A step's rows, cut into forward passes."""
        cuts = [slice(start, start + self.micro_batch) for start in range(0, len(inputs), self.micro_batch)]
        return [(inputs[cut], targets[cut]) for cut in cuts]


class Contestant(Protocol):
    """A program that trains."""

    name: str

    def step(self, number: int, inputs: Tensor, targets: Tensor) -> float:
        """Take optimizer step `number` on inputs and targets [B, T]; return its loss, nats a supervised token."""

    def logits(self, tokens: Tensor, use_rope: bool) -> Tensor:
        """Logits float32 [B, T, V]."""


class Miniseries:
    """This project's training code, as in a run of `flops`, which on a processor decide about compiling."""

    def __init__(
        self, contest: Contest, weights: dict[str, Tensor], name: str = "miniseries", flops: float = 0.0
    ) -> None:
        self.name, self._contest = name, contest
        self._model = build_model(contest.architecture, contest.precision, True, contest.device)
        self._model.load_state_dict(weights)
        compile_where_it_pays(self._model, contest.device, flops)
        self._optimizer = Optimizer(self._model, contest.optimization, current_world())

    def step(self, number: int, inputs: Tensor, targets: Tensor) -> float:
        """One step, its gradient added up over micro-batches."""
        scale = 1 / int((targets != IGNORED).sum())
        losses = []
        for part, wanted in self._contest.micro_batches(inputs, targets):
            loss = next_token_loss(self._model, part, wanted, scale)
            torch.autograd.backward(loss)
            losses.append(loss.detach())
        self._optimizer.reduce_gradients()
        self._optimizer.step(self._contest.rates(number))
        return float(torch.stack(losses).sum())

    def logits(self, tokens: Tensor, use_rope: bool) -> Tensor:
        """Of the weights as they are now."""
        self._model.use_rope = use_rope
        with torch.no_grad():
            logits: Tensor = self._model(tokens)
        self._model.use_rope = True
        return logits
