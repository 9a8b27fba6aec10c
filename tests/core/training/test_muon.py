"""Muon against a float64 reference written out one matrix at a time."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import pytest
import torch
from torch import Tensor

from core.recipes.bidirectional import OPTIMIZATION as PLAIN
from core.recipes.tiny import OPTIMIZATION as NORMALIZED
from core.training.muon import muon_step, orthogonalize, second_moment_shape
from core.training.schedule import Rates

SHAPES = [(24, 24), (48, 16), (16, 48)]
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


def reference_step(
    parameter: Tensor, gradient: Tensor, momentum: Tensor, second: Tensor | None, rate: float, mu: float, decay: float
) -> Tensor:
    """One step of one matrix in float64, by its singular values; momentum and second moment change in place."""
    method = "polar-express" if second is not None else "newton-schulz"
    momentum += (1 - mu) * (gradient - momentum)
    update = gradient + mu * (momentum - gradient)
    left, values, right = torch.linalg.svd(update, full_matrices=False)
    norm = values.pow(2).sum().sqrt()
    values = values / (norm * 1.01 + 1e-6) if method == "polar-express" else values / (norm + 1e-7)
    for a, b, c in QUINTICS[method]:
        values = a * values + b * values**3 + c * values**5
    update = (left * values) @ right
    if second is not None:
        axis = 1 if parameter.shape[0] >= parameter.shape[1] else 0
        second += 0.1 * (update.pow(2).mean(axis, keepdim=True) - second)
        evened = update / second.sqrt()
        update = evened * update.norm() / evened.norm()
    rate *= sqrt(max(1, parameter.shape[0] / parameter.shape[1]))
    shrink = torch.where(update * parameter >= 0, decay * parameter, 0.0)
    return parameter - rate * (update + shrink)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("muon", [NORMALIZED.matrices, PLAIN.matrices], ids=["normuon", "plain"])
def test_three_steps_of_a_stack_equal_the_float64_reference_of_each_matrix(
    muon: object, shape: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    rates = Rates(multiplier=0.5, momentum=0.9, weight_decay=0.3)
    parameters = torch.randn(3, *shape, generator=generator)
    momentum = torch.zeros_like(parameters)
    normalized = muon.second_moment_beta is not None
    second = torch.zeros(3, *second_moment_shape(shape)) if normalized else None
    expected, expected_momentum = parameters.double(), momentum.double()
    expected_second = [None] * 3 if second is None else list(second.double())
    for _ in range(3):
        gradients = torch.randn(3, *shape, generator=generator)
        parameters = muon_step(parameters, gradients, momentum, second, muon=muon, rates=rates, dtype=torch.float32)
        expected = torch.stack(
            [
                reference_step(
                    expected[index],
                    gradients[index].double(),
                    expected_momentum[index],
                    expected_second[index],
                    rate=muon.peak_rate * 0.5,
                    mu=0.9,
                    decay=0.3,
                )
                for index in range(3)
            ]
        )
    assert (parameters - expected).abs().max() < 1e-5
    assert (momentum - expected_momentum).abs().max() < 1e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_orthogonalisation_brings_every_singular_value_near_one(shape: tuple[int, int]) -> None:
    matrices = torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))
    for muon, low, high in ((NORMALIZED.matrices, 0.85, 1.15), (PLAIN.matrices, 0.5, 1.3)):
        values = torch.linalg.svdvals(orthogonalize(matrices, muon, torch.float32))
        assert low < values.min() <= values.max() < high


def test_orthogonalisation_in_bfloat16_stays_close_to_float32() -> None:
    matrices = torch.randn(2, 32, 48, generator=torch.Generator().manual_seed(2))
    rounded = orthogonalize(matrices, NORMALIZED.matrices, torch.bfloat16)
    assert rounded.dtype == torch.bfloat16
    exact = orthogonalize(matrices, NORMALIZED.matrices, torch.float32)
    assert (rounded - exact).norm() < 0.05 * exact.norm()


def test_decay_acts_only_where_update_and_parameter_agree_in_sign() -> None:
    muon = replace(NORMALIZED.matrices, second_moment_beta=None)
    generator = torch.Generator().manual_seed(3)
    parameters, gradients = torch.randn(2, 1, 16, 16, generator=generator)
    arguments = {"muon": muon, "dtype": torch.float32}
    steps = [
        muon_step(parameters, gradients, torch.zeros_like(parameters), None, rates=Rates(1.0, 0.9, decay), **arguments)
        for decay in (0.0, 0.5)
    ]
    update = parameters - steps[0]
    shrunk = (steps[0] - steps[1]).abs() > 1e-7
    assert torch.equal(shrunk, (update * parameters > 0) & (parameters.abs() > 1e-4))
