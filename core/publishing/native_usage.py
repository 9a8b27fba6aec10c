"""A program that runs a native export with nothing but torch and tiktoken: the model's definition as code to read."""

from __future__ import annotations

from core.publishing.deliverables import Deliverable

PROGRAM = """\
# pip install torch tiktoken huggingface_hub
import os, pickle, torch
import torch.nn.functional as F
from huggingface_hub import snapshot_download

repository = "{id}"
folder = repository if os.path.isdir(repository) else snapshot_download(repository)
weights = torch.load(f"{folder}/{weights}", map_location="cpu", weights_only=True)
with open(f"{folder}/tokenizer.pkl", "rb") as file:
    tokenizer = pickle.load(file)  # a tiktoken.Encoding; load a pickle only from whom you trust

def linear(x, name):
    return x @ weights[f"{name}.weight"].float().T

def norm(x):
    return F.rms_norm(x, (x.size(-1),), eps={epsilon})
{rotate}
def attention(x, layer):  # x [T, {width}]
    q, k, v = (linear(x, f"{layer}.attn.c_{part}").view(len(x), -1, {head_width}).transpose(0, 1) for part in "qkv")
    q, k = {positioned}  # [heads, T, {head_width}]
    y = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True, enable_gqa=True)[0]
    return linear(y.transpose(0, 1).flatten(1), f"{layer}.attn.c_proj")

def mlp(x, layer):
    return linear({mlp}, f"{layer}.mlp.c_proj")

def logits(tokens):
    x = {embedding}
    for layer in (f"transformer.h.{number}" for number in range({depth})):
        x = x + attention(norm(x), layer)
        x = x + mlp(norm(x), layer)
    return {cap} * torch.tanh(linear(norm(x), "lm_head") / {cap})

tokens = {tokens}
start = len(tokens)
while len(tokens) < start + 64 and tokens[-1] != tokenizer.encode_single_token("{end}"):
    tokens.append(int(logits(tokens)[-1].argmax()))
print(tokenizer.decode(tokens[start:]{in_order}))"""
TOKENS = 'tokenizer.encode("{opening}{prompt}", allowed_special="all")'
BACKWARD_TOKENS = """\
tokenizer.encode("{opening}<|backward|>", allowed_special="all")  # then the text, from its end
tokens += tokenizer.encode("{prompt}")[::-1]"""

ROTATE = """
def rotate(x):  # x [heads, T, {head_width}]
    angles = torch.outer(torch.arange(x.size(1)), {base} ** (-torch.arange(0, {head_width}, 2) / {head_width}))
    first, second = x.chunk(2, dim=-1)
    cosine, sine = angles.cos(), angles.sin()
    return torch.cat((first * cosine + second * sine, second * cosine - first * sine), dim=-1)
"""

MLPS = {
    "swiglu": 'F.silu(linear(x, f"{layer}.mlp.w_gate")) * linear(x, f"{layer}.mlp.w_up")',
    "relu2": 'F.relu(linear(x, f"{layer}.mlp.c_fc")).square()',
}
EMBEDDING = 'F.embedding(torch.tensor(tokens), weights["transformer.wte.weight"]).float()'
BEGINNING = "<|bos|>"
TURN = "<|user_start|>{prompt}<|user_end|><|assistant_start|>"


def native_program(repository_id: str, model: Deliverable, prompt: str, end_of_answer: str) -> str:
    """The program for one model: lines that it does not need are left out."""
    architecture, rotates = model.architecture, model.meta["use_rope"]
    is_chat = model.phase == "sft"
    is_backward = not is_chat and model.direction == "backward"
    values = {
        "id": repository_id,
        "weights": model.native_weights,
        "epsilon": repr(architecture.norm_epsilon),
        "rotate": ROTATE if rotates else "",
        "positioned": "norm(rotate(q)), norm(rotate(k))" if rotates else "norm(q), norm(k)",
        "mlp": MLPS[architecture.mlp],
        "embedding": f"norm({EMBEDDING})" if architecture.normalize_embedding else EMBEDDING,
        "width": str(architecture.width),
        "head_width": str(architecture.head_width),
        "base": repr(architecture.rope_base),
        "depth": str(architecture.depth),
        "cap": repr(architecture.logit_softcap),
        "tokens": BACKWARD_TOKENS if is_backward else TOKENS,
        "in_order": "[::-1]" if is_backward else "",
        "opening": BEGINNING,
        "prompt": TURN.replace("{prompt}", prompt) if is_chat else prompt,
        "end": end_of_answer if is_chat else BEGINNING,
    }
    program = PROGRAM
    for name in ("rotate", "mlp", *values):  # those first that hold others
        program = program.replace(f"{{{name}}}", values[name])
    return program
