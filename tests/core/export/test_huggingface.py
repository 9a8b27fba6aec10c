"""The files of the Hugging Face export, read without transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from core.export.weight_names import hugging_face_name
from core.model.checkpoint import ModelState
from core.stages.context import StageError
from core.stages.identity import ExportIdentity

Export = Callable[..., Any]

HF = "core.export.huggingface"


def test_only_a_fine_tuned_model_brings_a_chat_template(export: Export, base_state: ModelState) -> None:
    common = {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "configuration_nanochat.py",
        "modeling_nanochat.py",
        "certificate.json",
    }
    base, sft = export(HF, base_state), export(HF, replace(base_state, phase="sft"))
    assert {path.name for path in base.folder.iterdir()} == common
    assert {path.name for path in sft.folder.iterdir()} == {*common, "chat_template.jinja"}


def test_the_config_spells_out_what_would_otherwise_be_a_wrong_default(export: Export, relu2_state: ModelState) -> None:
    exported = export(HF, replace(relu2_state, use_rope=False, phase="sft", sequence_length=64))
    config = json.loads((exported.folder / "config.json").read_text())
    assert config["model_type"] == "nanochat"
    assert set(config["auto_map"]) == {"AutoConfig", "AutoModel", "AutoModelForCausalLM"}
    assert config["use_rope"] is False
    assert (config["logit_scale_coefficient"], config["logit_scale_length"]) == (0.0, 64)
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 10_000.0
    assert (config["max_position_embeddings"], config["original_max_position_embeddings"]) == (64, 32)
    assert (config["hidden_act"], config["normalize_embedding"]) == ("relu2_nanochat", True)
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (391, 395, 391)
    generation = json.loads((exported.folder / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [395, 391]


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp8", torch.bfloat16)]
)
def test_weights_keep_float32_only_where_they_trained_in_it(
    export: Export, base_state: ModelState, precision: str, dtype: torch.dtype
) -> None:
    exported = export(HF, replace(base_state, precision=precision))
    assert {tensor.dtype for tensor in load_file(exported.folder / "model.safetensors").values()} == {dtype}
    config = json.loads((exported.folder / "config.json").read_text())
    assert f"torch.{config['dtype']}" == str(dtype)


def test_every_tensor_arrives_under_its_new_name(export: Export, base_state: ModelState) -> None:
    exported = export(HF, base_state)
    native = load_file(exported.model / "model.safetensors")
    with safe_open(exported.folder / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert len(file.keys()) == len(native)
        for name, tensor in native.items():
            assert torch.equal(file.get_tensor(hugging_face_name(name, "swiglu")), tensor)


def test_a_tensor_without_a_place_in_the_layout_is_an_error() -> None:
    for name in ("resid_lambdas", "transformer.h.0.mlp.c_fc.weight", "transformer.h.x.attn.c_q.weight"):
        with pytest.raises(StageError, match="has no place"):
            hugging_face_name(name, "swiglu")


def test_a_model_file_with_a_missing_tensor_is_refused(
    export: Export, run_export: ModuleType, base_state: ModelState, tmp_path: Path
) -> None:
    exported = export(HF, base_state)
    weights = load_file(exported.model / "model.safetensors")
    del weights["transformer.h.1.mlp.w_up.weight"]
    save_file(weights, exported.model / "model.safetensors")
    identity = ExportIdentity(format_version=1, phase="base")
    with pytest.raises(StageError, match=r"tensor transformer\.h\.1\.mlp\.w_up\.weight is missing"):
        run_export.make(HF, identity, exported.model, exported.tokenizer, tmp_path / "output")
