"""Stage `export_twin`: the same weights as `Qwen3ForCausalLM`, for engines that run no code from a repository.

Qwen3 is this family with learned norms, the other direction of rotation and no cap on its logits. So norms are ones;
the two halves of each head's rows of q and k change places, which turns the rotation round; a model without positions
divides them by 1e12; relu(x)^2 is relu(x) * x, a gated MLP whose gate and up matrix are one. An embedding that the
model normalises is normalised here, and such a model stays in float32: rounding before a norm is not rounding after.

One difference is left, and README.md, config.json and the certificate say it: logits are not capped. The likeliest
token is the same; probabilities are those of the model after `c * tanh(logits / c)`. Parity is measured before the cap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from core.export import hub_config
from core.export.certify import Export, certify, require
from core.export.huggingface import export_metrics, exported_dtype
from core.export.parity import uncapped
from core.export.small_files import write_json, write_tokenizer
from core.export.source import Source
from core.export.weight_files import Planned, write_weights
from core.export.weight_names import TABLES, hugging_face_name
from core.model.checkpoint import ModelState
from core.model.transformer import normalize
from core.stages.context import Metrics, StageContext, StageError
from core.stages.identity import ExportIdentity

FORMAT_VERSION = 1
NO_POSITIONS = 1e12  # what positions are divided by: every angle is then 0 in float32, up to any length in use
ACTIVATIONS = {"swiglu": "silu", "relu2": "relu"}
NORMS = ("input_layernorm", "post_attention_layernorm")  # of a layer, as wide as the model
HEAD_NORMS = ("self_attn.q_norm", "self_attn.k_norm")

README = """\
# {name}, for engines without remote code

The weights of a nanochat model as `Qwen3ForCausalLM`. One thing differs: the model caps its logits at {cap:g} by
`{cap:g} * tanh(logits / {cap:g})`, which Qwen3 does not. The likeliest token is the same, so greedy text is exact.
For the probabilities of the model, and for sampling as it samples, apply that function to the logits first:

```python
from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessorList

folder = "."  # where these files are
model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
tokenizer = AutoTokenizer.from_pretrained(folder)
cap = model.config.nanochat_logit_softcap
capped = LogitsProcessorList([lambda tokens, logits: cap * (logits.float() / cap).tanh()])
output = model.generate(**tokenizer("The", return_tensors="pt"), do_sample=True, logits_processor=capped)
print(tokenizer.decode(output[0]))
```

`certificate.json` says what was compared with the trained model, and how far apart it was.
"""


def produce(context: StageContext[ExportIdentity]) -> Metrics:
    """Write the export; raises `StageError` when its inputs do not fit each other or a check fails."""
    source, folder = Source.open(context, FORMAT_VERSION), context.output
    export = twin_export(source, folder)
    write_weights(folder, export.tensors, export.dtype)
    write_json(folder / "config.json", export.settings)
    write_json(folder / "generation_config.json", export.generation)
    write_tokenizer(source, folder)
    readme = README.format(name=context.name, cap=source.state.architecture.logit_softcap)
    (folder / "README.md").write_text(readme, encoding="utf-8")
    context.report.progress(1, 2, "parts", "files")
    certificate = certify(export, context.scratch)
    require(certificate)
    certificate.write(folder)
    context.report.progress(2, 2, "parts", "certificate")
    return export_metrics(export, certificate)


def twin_export(source: Source, folder: Path) -> Export:
    """What has to be in `folder`."""
    return Export(
        layout="twin",
        folder=folder,
        source=source,
        tensors=dict(twin_tensors(source)),
        dtype=twin_dtype(source),
        settings=twin_config(source),
        generation=hub_config.generation_config(source.state, source.tokenizer),
        readout=uncapped,
        difference=difference(source.state),
    )


def difference(state: ModelState) -> str:
    """What the twin does not do as the model does."""
    cap = state.architecture.logit_softcap
    return (
        f"logits are not capped: the model's are {cap:g} * tanh(logits / {cap:g}); "
        "greedy tokens are the same, probabilities after that function"
    )


def twin_config(source: Source) -> dict[str, object]:
    """`config.json`; positions are said as transformers 5 reads them, and as 4 does."""
    state = source.state
    theta = state.architecture.rope_base
    scaling = None if state.use_rope else {"rope_type": "linear", "factor": NO_POSITIONS}
    return {
        "model_type": "qwen3",
        "architectures": ["Qwen3ForCausalLM"],
        **hub_config.common_config(state, source.tokenizer),
        "dtype": str(twin_dtype(source)).removeprefix("torch."),
        "hidden_act": ACTIVATIONS[state.architecture.mlp],
        "rope_parameters": {"rope_theta": theta, **(scaling or {"rope_type": "default"})},
        "rope_theta": theta,
        "rope_scaling": scaling,
        "use_sliding_window": False,
        "nanochat_logit_softcap": state.architecture.logit_softcap,
        "nanochat_difference": difference(state),
    }


def twin_dtype(source: Source) -> torch.dtype:
    """That of the other export, unless a norm has to be baked into the embedding."""
    return torch.float32 if source.state.architecture.normalize_embedding else exported_dtype(source)


def twin_tensors(source: Source) -> Iterator[tuple[str, Planned]]:
    """Every tensor of the twin: those of the model, some of them rearranged, and norms of ones."""
    architecture = source.state.architecture
    for name, shape in source.shapes.items():
        for target in twin_names(name, architecture.mlp):
            yield target, Planned(shape, _made(source, name))
    for layer in range(architecture.depth):
        for norm in NORMS:
            yield f"model.layers.{layer}.{norm}.weight", _ones(architecture.width)
        for norm in HEAD_NORMS:
            yield f"model.layers.{layer}.{norm}.weight", _ones(architecture.head_width)
    yield "model.norm.weight", _ones(architecture.width)


def twin_names(name: str, mlp: str) -> tuple[str, ...]:
    """Where a native parameter goes: one place, or two for the matrix that is gate and up at once."""
    target = hugging_face_name(name, mlp)
    if target.endswith("mlp.fc1.weight"):
        return tuple(target.replace("fc1", place) for place in ("gate_proj", "up_proj"))
    return (target.replace("mlp.fc2", "mlp.down_proj"),)


def _made(source: Source, name: str) -> Callable[[], Tensor]:
    architecture = source.state.architecture
    if TABLES.get(name) == "model.embed_tokens.weight" and architecture.normalize_embedding:
        return lambda: normalize(source.tensor(name).double(), architecture.norm_epsilon).float()
    if name.endswith((".attn.c_q.weight", ".attn.c_k.weight")):
        return lambda: swap_halves(source.tensor(name), architecture.head_width)
    return lambda: source.tensor(name)


def swap_halves(matrix: Tensor, head_width: int) -> Tensor:
    """Exchange the two halves of each head's rows of a projection [H * D, n]."""
    if matrix.size(0) % head_width or head_width % 2:
        raise StageError(f"a projection of {matrix.size(0)} rows has no halves of heads of {head_width}")
    return matrix.view(-1, 2, head_width // 2, matrix.size(1)).flip(1).reshape(matrix.shape)


def _ones(width: int) -> Planned:
    return Planned(torch.Size([width]), lambda: torch.ones(width))
