"""From a recipe's precision to a model in memory: dtypes, FP8 layers, and what is refused."""

from __future__ import annotations

import pytest
import torch

from core.model.float8 import Float8Linear
from core.recipes.recipe import Precision
from core.stages.context import StageError
from core.stages.identity import TrainingIdentity
from core.training.precision import build_model


@pytest.mark.parametrize(
    ("precision", "table"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp8", torch.bfloat16)]
)
def test_only_the_embedding_table_is_narrow_and_only_fp8_multiplies_in_8_bits(
    segment: TrainingIdentity, precision: Precision, table: torch.dtype
) -> None:
    model = build_model(segment.architecture, precision, True, torch.device("cpu"))
    dtypes = {name: parameter.dtype for name, parameter in model.named_parameters()}
    assert dtypes.pop("transformer.wte.weight") == table
    assert set(dtypes.values()) == {torch.float32}
    assert any(isinstance(module, Float8Linear) for module in model.modules()) is (precision == "fp8")


def test_fp8_on_a_gpu_that_cannot_multiply_it_is_refused_before_memory_is_taken(
    segment: TrainingIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (8, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "NVIDIA A100")
    with pytest.raises(StageError, match="precision fp8: NVIDIA A100 cannot multiply it; use an H100"):
        build_model(segment.architecture, "fp8", True, torch.device("cuda"))
