"""Muon against a float64 reference written out one matrix at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from optimizer_reference import ReferenceMuon

from core.recipes.bidirectional import OPTIMIZATION as PLAIN
from core.recipes.optimization import Muon
from core.recipes.tiny import OPTIMIZATION as NORMALIZED
from core.training.muon import muon_step, orthogonalize, second_moment_shape
from core.training.schedule import Rates

SHAPES = [(24, 24), (48, 16), (16, 48)]
METHODS = [NORMALIZED.matrices, PLAIN.matrices]


@pytest.mark.parametrize("shape", SHAPES, ids=["square", "tall", "wide"])
@pytest.mark.parametrize("muon", METHODS, ids=["polar-express and NorMuon", "Newton-Schulz"])
def test_three_steps_of_a_stack_equal_the_float64_reference_of_each_matrix(muon: Muon, shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    rates = Rates(multiplier=0.5, momentum=0.9, weight_decay=0.3)
    parameters = torch.randn(3, *shape, generator=generator)
    momentum = torch.zeros_like(parameters)
    second = None if muon.second_moment_beta is None else torch.zeros(3, *second_moment_shape(shape))
    references = [ReferenceMuon(parameter.double(), muon) for parameter in parameters]
    for _ in range(3):
        gradients = torch.randn(3, *shape, generator=generator)
        parameters = muon_step(parameters, gradients, momentum, second, muon=muon, rates=rates, dtype=torch.float32)
        for reference, gradient in zip(references, gradients.double(), strict=True):
            reference.step(gradient, rates)
    torch.testing.assert_close(
        parameters.double(), torch.stack([one.parameter for one in references]), rtol=0, atol=1e-6
    )
    torch.testing.assert_close(momentum.double(), torch.stack([one.momentum for one in references]), rtol=0, atol=1e-6)
    if second is not None:
        expected = torch.stack([one.second_moment for one in references])
        torch.testing.assert_close(second.double(), expected, rtol=1e-5, atol=0)


def test_the_two_methods_are_those_of_the_recipes() -> None:
    assert [muon.orthogonalization for muon in METHODS] == ["polar-express", "newton-schulz"]
    assert [muon.second_moment_beta is None for muon in METHODS] == [False, True]


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


@pytest.mark.parametrize("muon", METHODS, ids=["polar-express and NorMuon", "Newton-Schulz"])
def test_a_gradient_of_zeros_moves_nothing_and_spoils_nothing(muon: Muon) -> None:
    parameters, zeros = torch.ones(2, 8, 12), torch.zeros(2, 8, 12)
    second = None if muon.second_moment_beta is None else torch.zeros(2, *second_moment_shape((8, 12)))
    rates = Rates(multiplier=1.0, momentum=0.9, weight_decay=0.0)
    moved = muon_step(parameters, zeros, zeros.clone(), second, muon=muon, rates=rates, dtype=torch.float32)
    assert torch.equal(moved, parameters)


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
