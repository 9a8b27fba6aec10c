"""What engines do with the remote code, by the rules of vLLM's Transformers backend; vLLM itself cannot run here.

It builds `AutoModel.from_config` without memory, fills it by the names in the file less the prefix `model.`, puts an
attention of its own in the place of every layer's, calls the model with positions and without a batch's cache or mask,
and computes the logits itself: `lm_head.weight`, then the cap that `final_logit_softcapping` names.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from core.model.checkpoint import ModelState, load_model

ENGINE = "engine_of_a_test"


class EngineAttention:
    """One layer's attention in the engine: causal, over all tokens it is given."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        self.calls += 1
        grouped = key.size(1) != query.size(1)
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scaling, enable_gqa=grouped
        )


def engine_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    attention_instances: dict[int, EngineAttention],
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """What the engine registers: hands on to the instance of the layer."""
    mixed = attention_instances[module.layer_idx](query, key, value, scaling)
    return mixed.transpose(1, 2), None


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Transformers with the engine's attention, and its folder for remote code in a temporary place."""
    import transformers
    from transformers import AttentionInterface, dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "transformers_modules"]:
        monkeypatch.delitem(sys.modules, name)  # of another folder: the next import would look for its code there
    AttentionInterface.register(ENGINE, engine_attention)
    return transformers


@pytest.mark.parametrize("use_rope", [True, False], ids=["rope", "nope"])
def test_an_engine_that_brings_its_own_attention_gets_the_models_logits(
    library: ModuleType, export: Callable[..., Any], base_state: ModelState, use_rope: bool
) -> None:
    exported = export("core.export.huggingface", replace(base_state, use_rope=use_rope))
    config = library.AutoConfig.from_pretrained(exported.folder, trust_remote_code=True)
    config._attn_implementation = ENGINE
    with torch.device("meta"):
        model = library.AutoModel.from_config(config, trust_remote_code=True)
    weights = load_file(exported.folder / "model.safetensors")
    head = weights.pop("lm_head.weight")
    model.load_state_dict(
        {name.removeprefix("model."): tensor for name, tensor in weights.items()}, strict=True, assign=True
    )
    tokens = torch.randint(0, 390, (1, 24), generator=torch.Generator().manual_seed(3))
    attentions = {layer: EngineAttention() for layer in range(config.num_hidden_layers)}
    with torch.no_grad():
        hidden = model(
            input_ids=tokens,
            position_ids=torch.arange(24)[None],
            use_cache=False,
            return_dict=False,
            attention_instances=attentions,
        )[0]
        cap = config.final_logit_softcapping
        logits = cap * torch.tanh(hidden @ head.T / cap)
        assert (logits - load_model(exported.model)(tokens)).abs().max() <= 1e-5
    assert [attention.calls for attention in attentions.values()] == [1, 1]
    assert model._supports_attention_backend
    assert not hasattr(config, "attn_logit_softcapping")  # an engine would apply it


def test_an_engine_that_asks_without_trust_gets_an_error_and_no_wrong_model(
    library: ModuleType, export: Callable[..., Any], base_state: ModelState
) -> None:
    exported = export("core.export.huggingface", base_state)
    with pytest.raises((KeyError, ValueError)):
        library.AutoModel.from_pretrained(exported.folder, trust_remote_code=False)
