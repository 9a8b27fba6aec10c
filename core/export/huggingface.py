"""Stage `export_hf`: a model that `AutoModelForCausalLM.from_pretrained(..., trust_remote_code=True)` loads anywhere.

    config.json, generation_config.json        see `core.export.hub_config`
    model.safetensors                          renamed tensors: float32 if trained so, else bfloat16
    tokenizer.json, tokenizer_config.json      see `core.export.tokenizer_json`
    chat_template.jinja                        fine-tuned models only
    configuration_nanochat.py, modeling_nanochat.py    copies of `remote_code/`

Transformers' own nanochat class cannot run these models, hence the code beside the weights. The stage itself needs no
transformers: every tensor is accounted for by name and shape, and the tokenizer is compared on the file it wrote.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from core.export import hub_config
from core.export.chat_template import CHAT_TEMPLATE
from core.export.source import Source
from core.export.tokenizer_json import write_tokenizer_json
from core.export.weight_names import hugging_face_name
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import ExportIdentity

FORMAT_VERSION = 1
REMOTE_CODE = Path(__file__).with_name("remote_code")
REMOTE_FILES = ("configuration_nanochat.py", "modeling_nanochat.py")


def produce(context: StageContext[ExportIdentity]) -> Metrics:
    """Write the export; raises `StageError` when its inputs do not fit each other or cannot be expressed exactly."""
    source, output = Source.open(context, FORMAT_VERSION), context.output
    state, tokenizer = source.state, source.tokenizer
    write_weights(source, output / "model.safetensors")
    context.report.progress(1, 2, "files", "weights")
    write_tokenizer_json(tokenizer, output / "tokenizer.json")
    for name, content in (
        ("config.json", hub_config.model_config(state, tokenizer)),
        ("generation_config.json", hub_config.generation_config(state, tokenizer)),
        ("tokenizer_config.json", hub_config.tokenizer_config(state, tokenizer)),
    ):
        (output / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if state.phase == "sft":
        (output / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    for name in REMOTE_FILES:
        shutil.copyfile(REMOTE_CODE / name, output / name)
    context.report.progress(2, 2, "files", "tokenizer and code")
    return {
        "parameters": source.parameters,
        "step": state.step,
        "use_rope": state.use_rope,
        "dtype": hub_config.TORCH_DTYPES[state.precision],
        "bytes": sum(path.stat().st_size for path in output.iterdir()),
    }


def write_weights(source: Source, path: Path) -> None:
    """Rename and cast every tensor, write them, and check the file's list of contents against the architecture."""
    mlp = source.state.architecture.mlp
    dtype: torch.dtype = getattr(torch, hub_config.TORCH_DTYPES[source.state.precision])
    save_file(
        {hugging_face_name(name, mlp): tensor.to(dtype).contiguous() for name, tensor in source.tensors()},
        path,
        metadata={"format": "pt"},
    )
    expected = {hugging_face_name(name, mlp): list(shape) for name, shape in source.shapes.items()}
    with safe_open(path, framework="pt") as written:
        names: list[str] = written.keys()
        found = {name: written.get_slice(name).get_shape() for name in names}
    if len(expected) != len(source.shapes) or found != expected:
        raise StageError(
            f"{path.name}: {len(found)} of {len(source.shapes)} tensors arrived; two share a name or a shape is off"
        )
