"""Stage `export_hf`: a model that `AutoModelForCausalLM.from_pretrained(..., trust_remote_code=True)` loads anywhere.

    config.json, generation_config.json        see `core.export.hub_config`
    model.safetensors                          renamed tensors: float32 if trained so, else bfloat16; shards above 5 GB
    tokenizer.json, tokenizer_config.json      see `core.export.tokenizer_json`
    chat_template.jinja                        fine-tuned models only
    configuration_nanochat.py, modeling_nanochat.py    copies of `remote_code/`
    certificate.json                           see `core.export.certificate`

Transformers' own nanochat class cannot run these models, hence the code beside the weights. Weights are converted one
tensor at a time. Then what was written is loaded and compared with the model; a difference fails the stage.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from core.export import hub_config
from core.export.certificate import Certificate
from core.export.certify import Export, certify, require
from core.export.small_files import write_json, write_tokenizer
from core.export.source import Source
from core.export.weight_files import MAX_FILE_BYTES, Planned, write_weights
from core.export.weight_names import hugging_face_name
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import ExportIdentity

FORMAT_VERSION = 1
REMOTE_CODE = Path(__file__).with_name("remote_code")
REMOTE_FILES = ("configuration_nanochat.py", "modeling_nanochat.py")


def produce(context: StageContext[ExportIdentity]) -> Metrics:
    """Write the export; raises `StageError` when its inputs do not fit each other or a check fails."""
    source = Source.open(context, FORMAT_VERSION)
    export = hub_export(source, context.output)
    write_export(export)
    context.report.progress(1, 2, "parts", "files")
    certificate = certify(export, context.scratch)
    require(certificate)
    certificate.write(context.output)
    context.report.progress(2, 2, "parts", "certificate")
    return export_metrics(export, certificate)


def hub_export(source: Source, folder: Path) -> Export:
    """What has to be in `folder`."""
    state, tokenizer = source.state, source.tokenizer
    return Export(
        layout="hf",
        folder=folder,
        source=source,
        tensors=planned_tensors(source),
        dtype=exported_dtype(source),
        settings=hub_config.model_config(state, tokenizer),
        generation=hub_config.generation_config(state, tokenizer),
    )


def planned_tensors(source: Source) -> dict[str, Planned]:
    """Every tensor under its new name, layer by layer; raises `StageError` when two would share a name."""
    mlp = source.state.architecture.mlp

    def plan(name: str, shape: torch.Size) -> Planned:
        return Planned(shape, lambda: source.tensor(name))

    tensors = {hugging_face_name(name, mlp): plan(name, shape) for name, shape in source.shapes.items()}
    if len(tensors) != len(source.shapes):
        raise StageError(f"{source.folder}: {len(source.shapes)} tensors have {len(tensors)} names in the export")
    return tensors


def exported_dtype(source: Source) -> torch.dtype:
    """Float32 for a model that trained in it, bfloat16 for any other."""
    dtype: torch.dtype = getattr(torch, hub_config.TORCH_DTYPES[source.state.precision])
    return dtype


def write_export(export: Export, max_file_bytes: int = MAX_FILE_BYTES) -> None:
    """Write every file but the certificate; weights in as many as are needed for none to be larger than that."""
    write_weights(export.folder, export.tensors, export.dtype, max_file_bytes)
    write_json(export.folder / "config.json", export.settings)
    write_json(export.folder / "generation_config.json", export.generation)
    write_tokenizer(export.source, export.folder)
    for name in REMOTE_FILES:
        shutil.copyfile(REMOTE_CODE / name, export.folder / name)


def export_metrics(export: Export, certificate: Certificate) -> Metrics:
    """What a person wants to know of an export."""
    measured = {check.name: check.measured for check in certificate.checks}
    return {
        "parameters": export.source.parameters,
        "step": export.source.state.step,
        "use_rope": export.source.state.use_rope,
        "dtype": str(export.dtype).removeprefix("torch."),
        "bytes": sum(path.stat().st_size for path in export.folder.iterdir()),
        "checks": len(certificate.checks),
        "logit_difference": measured["logits"],
    }
