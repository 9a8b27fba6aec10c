"""Where each tensor of the native state dict goes in the Hugging Face layout: a rename, no tensor changes its shape."""

from __future__ import annotations

from core.stages.context import StageError

TABLES = {
    "transformer.wte.weight": "model.embed_tokens.weight",
    "lm_head.weight": "lm_head.weight",
}
LAYER = "transformer.h."
LAYER_MATRICES = {
    "attn.c_q.weight": "self_attn.q_proj.weight",
    "attn.c_k.weight": "self_attn.k_proj.weight",
    "attn.c_v.weight": "self_attn.v_proj.weight",
    "attn.c_proj.weight": "self_attn.o_proj.weight",
}
MLP_MATRICES = {
    "swiglu": {
        "mlp.w_gate.weight": "mlp.gate_proj.weight",
        "mlp.w_up.weight": "mlp.up_proj.weight",
        "mlp.c_proj.weight": "mlp.down_proj.weight",
    },
    "relu2": {
        "mlp.c_fc.weight": "mlp.fc1.weight",
        "mlp.c_proj.weight": "mlp.fc2.weight",
    },
}


def hugging_face_name(name: str, mlp: str) -> str:
    """The exported name of a native parameter; raises `StageError` for one that has no place in the exported model."""
    if name in TABLES:
        return TABLES[name]
    layer, _, matrix = name.removeprefix(LAYER).partition(".")
    matrices = LAYER_MATRICES | MLP_MATRICES[mlp]
    if not (name.startswith(LAYER) and layer.isdecimal() and matrix in matrices):
        raise StageError(f"tensor {name} has no place in the Hugging Face layout of a {mlp} model")
    return f"model.layers.{layer}.{matrices[matrix]}"
