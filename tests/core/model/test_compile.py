"""The trunk is one graph, forward and backward, whatever the recipe; compiled, it computes what it computes eagerly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch._dynamo.utils import counters

from core.model.architecture import Architecture
from core.model.float8 import use_float8
from core.model.key_value_cache import KeyValueCache
from core.model.loss import next_token_loss
from core.model.transformer import Transformer
from core.recipes.tiny import ARCHITECTURE as TINY
from core.training.numerics import compile_where_it_pays

Build = Callable[..., Transformer]


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    """Graphs of other tests do not count towards this one's."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def prepared(model: Transformer, precision: str) -> Transformer:
    """The same weights in the dtypes that a precision trains in."""
    if precision != "fp32":
        model.transformer.wte.to(torch.bfloat16)
    if precision == "fp8":
        use_float8(model.transformer)
    return model


def batch(architecture: Architecture, rows: int, length: int = 16) -> tuple[Tensor, Tensor]:
    inputs, targets = torch.randint(
        0, architecture.vocabulary_size, (2, rows, length), generator=torch.Generator().manual_seed(0)
    )
    return inputs, targets


def loss_and_gradients(model: Transformer, rows: int = 2, length: int = 16) -> tuple[Tensor, dict[str, Tensor]]:
    """One backward pass."""
    model.zero_grad()
    loss = next_token_loss(model, *batch(model.architecture, rows, length), scale=1 / (rows * length))
    loss.backward()
    return loss.detach(), {name: parameter.grad for name, parameter in model.named_parameters()}


def assert_close(model: Transformer, eager: Transformer, *, loss: float, gradients: float) -> None:
    """Loss within a relative distance, each gradient within a relative L2 distance."""
    (found, found_gradients), (expected, expected_gradients) = loss_and_gradients(model), loss_and_gradients(eager)
    torch.testing.assert_close(found, expected, rtol=loss, atol=0)
    for name, gradient in expected_gradients.items():
        assert (found_gradients[name] - gradient).float().norm() <= gradients * gradient.float().norm(), name


@pytest.mark.parametrize(
    ("mlp", "use_rope", "precision"),
    [
        ("swiglu", True, "bf16"),
        ("swiglu", False, "fp8"),
        ("relu2", True, "fp8"),
        ("relu2", False, "fp32"),
    ],
)
def test_forward_and_backward_are_captured_whole_and_change_no_number(
    build: Build, toy: Architecture, mlp: str, use_rope: bool, precision: str
) -> None:
    architecture = replace(toy, mlp=mlp, normalize_embedding=mlp == "relu2")
    model, eager = (prepared(build(architecture, use_rope), precision) for _ in range(2))
    names = list(model.state_dict())
    model.transformer.compile(fullgraph=True, dynamic=False, backend="aot_eager")
    assert_close(model, eager, loss=1e-5, gradients=1e-5)
    assert list(model.state_dict()) == names


def test_a_run_needs_one_graph_for_each_shape_with_and_without_gradients_and_positions(
    build: Build, toy: Architecture
) -> None:
    counter = CompileCounterWithBackend("eager")
    model = build(replace(toy, depth=1))
    model.transformer.compile(fullgraph=True, dynamic=False, backend=counter)
    for _ in range(2):  # a second time, everything is there
        for use_rope in (True, False):
            model.use_rope = use_rope
            for rows in (4, 2, 1):  # a micro-batch, one halved, a remainder
                loss_and_gradients(model, rows)
            with torch.no_grad():
                model.hidden(batch(toy, 4)[0])
    assert counter.frame_count == 2 * (3 + 1)


def test_generation_compiles_nothing_while_the_model_is_not_compiled(build: Build, toy: Architecture) -> None:
    counters.clear()
    model = build(toy)
    cache = KeyValueCache(toy, rows=1, capacity=12)
    with torch.no_grad():
        for token in range(12):
            model(torch.tensor([[token]]), cache.window(0, [1]))
    assert not counters["stats"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "use_rope", "precision", "loss", "gradients"),
    [
        ({}, True, "bf16", 1e-3, 0.02),
        # another order of additions is another rounding in 8 bits: two such gradients differ as each does from float32
        ({"depth": 1, "mlp": "relu2", "mlp_width": 512, "normalize_embedding": True}, False, "fp8", 5e-3, 0.2),
    ],
    ids=["tiny", "tiny bidirectional in fp8"],
)
def test_the_machine_code_of_the_tiny_models_computes_what_they_compute_eagerly(
    build: Build, changes: dict[str, object], use_rope: bool, precision: str, loss: float, gradients: float
) -> None:
    architecture = replace(TINY, **changes)
    model, eager = (prepared(build(architecture, use_rope), precision) for _ in range(2))
    with torch._inductor.config.patch(deterministic=True):
        compile_where_it_pays(
            model, torch.device("cuda"), 0.0
        )  # what a GPU's run asks for, of the compiler for this processor
        assert_close(model, eager, loss=loss, gradients=gradients)
