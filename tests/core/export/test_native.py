"""The native export: nanochat's own layout, complete, and the same bytes every time."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from core.data.tokenizer import Tokenizer
from core.export.native import save
from core.export.native_optimizer import stack_on_disk
from core.lineage.lineage import LINEAGE, Ancestor, Lineage
from core.model.checkpoint import ModelState, load_model
from core.model.transformer import Transformer
from core.recipes.optimization import family_optimization
from core.stages.context import StageError
from core.stages.identity import ExportIdentity
from core.stages.kind import StageKind

Export = Callable[..., Any]

NATIVE = "core.export.native"
PROGRAM = Path(__file__).with_name("run_export.py")
ROOT = Path(__file__).parents[3]


def test_the_layout_is_nanochats_with_the_step_in_the_names(export: Export, base_state: ModelState) -> None:
    exported = export(NATIVE, base_state)
    assert sorted(path.name for path in exported.folder.iterdir()) == [
        "meta_000012.json",
        "model_000012.pt",
        "optim_000012_rank0.pt",
        "token_bytes.pt",
        "tokenizer.pkl",
    ]
    assert exported.metrics["parameters"] == base_state.architecture.total_parameters


def test_the_weights_load_into_the_model_and_give_the_same_logits(export: Export, relu2_state: ModelState) -> None:
    exported = export(NATIVE, replace(relu2_state, use_rope=False))
    model = Transformer(relu2_state.architecture, use_rope=False)
    model.load_state_dict(torch.load(exported.folder / "model_000012.pt", weights_only=True))
    tokens = torch.arange(20).unsqueeze(0)
    with torch.no_grad():
        assert torch.equal(model(tokens), load_model(exported.model)(tokens))


def test_every_tensor_keeps_the_dtype_it_trained_in(export: Export, base_state: ModelState) -> None:
    exported = export(NATIVE, replace(base_state, precision="bf16"))
    weights = torch.load(exported.folder / "model_000012.pt", weights_only=True)
    assert weights["transformer.wte.weight"].dtype == torch.bfloat16
    assert weights["lm_head.weight"].dtype == torch.float32


@pytest.mark.parametrize("phase", ["base", "sft"])
def test_the_meta_file_says_use_rope_where_every_loader_looks(
    export: Export, base_state: ModelState, phase: str
) -> None:
    exported = export(NATIVE, replace(base_state, phase=phase, use_rope=False))
    meta = json.loads((exported.folder / "meta_000012.json").read_text())
    assert meta["use_rope"] is False
    assert meta["loop_state"]["use_rope"] is False
    assert "direction" not in meta


def test_the_meta_file_has_what_nanochat_builds_the_model_from(export: Export, base_state: ModelState) -> None:
    exported = export(NATIVE, replace(base_state, sequence_length=64, direction="bidirectional"))
    meta = json.loads((exported.folder / "meta_000012.json").read_text())
    assert meta["model_config"] == {
        "sequence_len": 64,
        "vocab_size": 400,
        "n_layer": 2,
        "n_head": 4,
        "n_kv_head": 2,
        "n_embd": 64,
    }
    assert (meta["step"], meta["val_bpb"], meta["loop_state"]["min_val_bpb"]) == (12, 2.25, 2.25)
    assert meta["architecture"]["mlp_width"] == 128
    assert meta["direction"] == "bidirectional"


def test_the_meta_file_has_what_nanochat_resumes_from(export: Export, base_state: ModelState) -> None:
    meta = json.loads((export(NATIVE, base_state).folder / "meta_000012.json").read_text())
    assert "dataloader_state_dict" in meta, "nanochat looks it up without asking"
    assert meta["dataloader_state_dict"] is None, "its loader then begins at the first file"
    assert set(meta["loop_state"]) >= {"min_val_bpb", "smooth_train_loss", "total_training_time"}
    assert meta["loop_state"]["total_training_time"] == pytest.approx(128 / 9.0)  # one timed step, of 128 tokens
    assert meta["loop_state"]["timed_steps"] == 1


def write_segments(folder: Path, segments: dict[StageKind, list[dict[str, float]]]) -> None:
    """A gathered lineage: each stage with one trace for both files."""
    folder.mkdir()
    stages = []
    for number, (kind, records) in enumerate(segments.items()):
        key = str(number) * 64
        none: dict[str, str] = {}
        stages.append(
            Ancestor(
                kind=kind,
                name="tiny",
                title="",
                key=key,
                version=1,
                identity={},
                inputs=none,
                observed=none,
                is_recorded=True,
            )
        )
        (folder / key).mkdir()
        for file in ("loss.jsonl", "metrics.jsonl"):
            (folder / key / file).write_text("".join(json.dumps(record) + "\n" for record in records))
    Lineage(deliverables={}, stages=tuple(stages)).write(folder / LINEAGE)


@pytest.mark.parametrize(("phase", "seconds", "timed", "best"), [("base", 48.0, 2, 2.0), ("sft", 16.0, 1, 1.5)])
def test_training_time_and_losses_are_those_of_all_segments_of_the_phase(
    export: Export,
    run_export: ModuleType,
    base_state: ModelState,
    tmp_path: Path,
    phase: str,
    seconds: float,
    timed: int,
    best: float,
) -> None:
    exported = export(NATIVE, replace(base_state, phase=phase))
    write_segments(
        tmp_path / "lineage",
        {
            StageKind.PRETRAIN: [{"step": 3, "loss": 4.0, "tokens_per_second": 4.0, "validation_bpb": 2.0}],
            StageKind.RECALIBRATE: [{"step": 9, "loss": 3.0, "tokens_per_second": 8.0, "validation_bpb": 2.1}],
            StageKind.SFT: [{"step": 5, "loss": 2.0, "tokens_per_second": 8.0, "validation_bpb": 1.5}],
        },
    )
    identity, output = ExportIdentity(format_version=1, phase=phase), tmp_path / "output"
    run_export.make(NATIVE, identity, exported.model, exported.tokenizer, output, lineage=tmp_path / "lineage")
    meta = json.loads((output / "meta_000012.json").read_text())
    assert meta["loop_state"]["total_training_time"] == pytest.approx(seconds)
    assert (meta["loop_state"]["timed_steps"], meta["loop_state"]["min_val_bpb"]) == (timed, best)
    assert meta["val_bpb"] == {"base": 2.1, "sft": 1.5}[phase]


def test_the_flags_of_a_family_model_are_nanochats_defaults(export: Export, base_state: ModelState) -> None:
    optimization = family_optimization(base_state.architecture, 2**20)
    exported = export(NATIVE, replace(base_state, optimization=optimization, batch_tokens=2**20))
    flags = json.loads((exported.folder / "meta_000012.json").read_text())["user_config"]
    rates = [flags[name] for name in ("matrix_lr", "embedding_lr", "unembedding_lr")]
    assert rates == pytest.approx([0.02, 0.3, 0.008])
    assert (flags["device_batch_size"], flags["total_batch_size"]) == (16, 2**20)


def test_the_optimizer_state_is_numbered_in_nanochats_groups(export: Export, base_state: ModelState) -> None:
    exported = export(NATIVE, base_state)
    optimizer = torch.load(exported.folder / "optim_000012_rank0.pt", weights_only=True)
    slots = load_file(exported.model / "optimizer.safetensors")
    model = Transformer(base_state.architecture)
    matrices = list(model.transformer.h.named_parameters(prefix="transformer.h"))
    shapes = sorted({parameter.shape for _, parameter in matrices})
    groups, state = optimizer["param_groups"], optimizer["state"]
    assert [group["kind"] for group in groups] == ["adamw", "adamw", *["muon"] * len(shapes)]
    assert [number for group in groups for number in group["params"]] == list(range(2 + len(matrices)))
    assert torch.equal(state[0]["exp_avg"], slots["lm_head.weight.first_moment"])
    assert torch.equal(state[1]["exp_avg_sq"], slots["transformer.wte.weight.second_moment"])
    assert state[1]["step"] == base_state.step
    for group, shape in zip(groups[2:], shapes, strict=True):
        names = [name for name, parameter in matrices if parameter.shape == shape]
        stacked = state[group["params"][0]]
        assert torch.equal(stacked["momentum_buffer"], torch.stack([slots[f"{name}.momentum"] for name in names]))
        assert stacked["second_momentum_buffer"].shape[0] == len(group["params"]) == len(names)


def test_a_disk_that_fails_is_one_line(tmp_path: Path) -> None:
    matrix = torch.zeros(2, 2)
    with pytest.raises(StageError, match=r"absent/m: No such file or directory; free 0\.00 GB there"):
        stack_on_disk([matrix, matrix], tmp_path / "absent" / "m")
    with pytest.raises(StageError, match=r"absent/m\.pt: could not be written: [^\n]*; free space there") as failure:
        save(matrix, tmp_path / "absent" / "m.pt")
    assert "\n" not in str(failure.value)


def test_the_pickled_tokenizer_is_a_tiktoken_encoding_with_the_same_ids(
    export: Export, base_state: ModelState, tokenizer: Tokenizer
) -> None:
    exported = export(NATIVE, base_state)
    encoding = pickle.loads((exported.folder / "tokenizer.pkl").read_bytes())
    text = "The quick brown fox, 你好 <|bos|>"
    assert encoding.encode_ordinary(text) == tokenizer.encode(text)
    assert encoding.encode_single_token("<|assistant_end|>") == tokenizer.special("<|assistant_end|>")
    token_bytes = torch.load(exported.folder / "token_bytes.pt", weights_only=True)
    assert token_bytes.dtype == torch.int32
    assert token_bytes.tolist() == tokenizer.token_bytes.tolist()


@pytest.mark.parametrize("module", [NATIVE, "core.export.huggingface"])
def test_two_processes_write_the_same_bytes(
    export: Export, base_state: ModelState, tmp_path: Path, module: str
) -> None:
    first = export(module, replace(base_state, phase="sft"))
    command = [sys.executable, PROGRAM, module, "sft", first.model, first.tokenizer, tmp_path / "second"]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, env=environment)
    names = sorted(path.name for path in first.folder.iterdir())
    assert sorted(path.name for path in (tmp_path / "second").iterdir()) == names
    for name in names:
        assert (tmp_path / "second" / name).read_bytes() == (first.folder / name).read_bytes(), name


def test_a_model_of_another_phase_is_refused(export: Export, base_state: ModelState) -> None:
    with pytest.raises(StageError, match="phase base, an export of sft was asked for"):
        export(NATIVE, base_state, ExportIdentity(format_version=1, phase="sft"))


def test_a_format_that_this_version_does_not_write_is_refused(export: Export, base_state: ModelState) -> None:
    with pytest.raises(StageError, match="export format 2 was asked for"):
        export(NATIVE, base_state, ExportIdentity(format_version=2, phase="base"))


def test_a_tokenizer_of_another_size_is_refused(export: Export, base_state: ModelState) -> None:
    larger = replace(base_state, architecture=replace(base_state.architecture, vocabulary_size=401))
    with pytest.raises(StageError, match="has 401 tokens, its tokenizer 400"):
        export(NATIVE, larger)
