"""Stage `export_native`: a model in nanochat's own checkpoint layout, for its scripts and for whoever reads them.

    model_<step>.pt            flat state dict, every tensor in the dtype it trained in
    meta_<step>.json           see `core.export.native_meta`
    optim_<step>_rank0.pt      see `core.export.native_optimizer`; a model that was adopted may have none
    tokenizer.pkl              pickled tiktoken.Encoding
    token_bytes.pt             int32 [V], bytes of each token, 0 for special tokens

The same inputs give the same bytes: torch's archives carry no time, and the pickle is written in vocabulary order.
Tensors go from file to file: what is written is mapped, and needs no memory of its own.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import torch

from core.export.native_meta import native_meta
from core.export.native_optimizer import native_optimizer
from core.export.source import Source
from core.lineage.lineage import LINEAGE_ROLE, read_lineage
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import ExportIdentity

FORMAT_VERSION = 1
OPTIMIZER = "optimizer.safetensors"
PICKLE_PROTOCOL = 4  # the oldest that every Python since 3.8 writes and reads


def produce(context: StageContext[ExportIdentity]) -> Metrics:
    """Write the five files; raises `StageError` when model, tokenizer and identity do not fit each other."""
    source, output = Source.open(context, FORMAT_VERSION), context.output
    state, tokenizer = source.state, source.tokenizer
    save(dict(source.tensors()), output / f"model_{state.step:06d}.pt")
    context.report.progress(1, 3, "files", "weights")
    if (source.folder / OPTIMIZER).exists():
        slots = dict(source.tensors(OPTIMIZER))
        optimizer = native_optimizer(slots, source.shapes, state, context.scratch)
        save(optimizer, output / f"optim_{state.step:06d}_rank0.pt")
    context.report.progress(2, 3, "files", "optimizer")
    meta = json.dumps(native_meta(source, read_lineage(context.inputs.get(LINEAGE_ROLE))), indent=2)
    (output / f"meta_{state.step:06d}.json").write_text(meta + "\n", encoding="utf-8")
    (output / "tokenizer.pkl").write_bytes(pickle.dumps(tokenizer.encoding, protocol=PICKLE_PROTOCOL))
    save(torch.from_numpy(tokenizer.token_bytes), output / "token_bytes.pt")
    context.report.progress(3, 3, "files", "tokenizer")
    return {
        "parameters": source.parameters,
        "step": state.step,
        "use_rope": state.use_rope,
        "bytes": sum(path.stat().st_size for path in output.iterdir()),
    }


def save(value: object, path: Path) -> None:
    """`torch.save`; raises `StageError` when the disk fails."""
    try:
        torch.save(value, path)
    except (RuntimeError, OSError) as error:  # torch's own writer raises the former
        reason = str(error).partition("\n")[0]
        raise StageError(f"{path}: could not be written: {reason}; free space there and run again") from None
