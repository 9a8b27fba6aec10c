"""Conversion holds a tensor at a time: its peak stays far below one and a half models, for each layout."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.model.checkpoint import ModelState

ROOT = Path(__file__).parents[3]
CLEAR = Path("/proc/self/clear_refs")
PROGRAM = """\
import sys
from pathlib import Path

import torch

from core.data.tokenizer import Tokenizer
from core.export import huggingface, native, twin
from core.export.source import Source, parameter_shapes
from core.export.weight_files import write_weights
from core.model.checkpoint import load_state

layout, model, tokenizer, output = sys.argv[1], *map(Path, sys.argv[2:])
state = load_state(model)
source = Source(model, state, Tokenizer.load(tokenizer), parameter_shapes(state.architecture))

def memory(name):
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024

def convert():
    match layout:
        case "hf":
            huggingface.write_export(huggingface.hub_export(source, output))
        case "twin":
            export = twin.twin_export(source, output)
            write_weights(output, export.tensors, export.dtype)
        case "native":
            native.save(dict(source.tensors()), output / "model.pt")

torch.zeros(1).bfloat16()
output.mkdir()
Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
before = memory("VmRSS")
convert()
print(memory("VmHWM") - before)
"""


@pytest.fixture(scope="module")
def model(fabricate: Callable[[Path, ModelState], None], base_state: ModelState, tmp_path_factory: Any) -> Path:
    """A model of a hundred megabytes."""
    shape = {"width": 1024, "mlp_width": 3072, "heads": 16, "key_value_heads": 16, "head_width": 64}
    folder: Path = tmp_path_factory.mktemp("wide")
    fabricate(folder, replace(base_state, architecture=replace(base_state.architecture, **shape), precision="bf16"))
    return folder


@pytest.mark.skipif(not CLEAR.exists(), reason="the peak of a process can be counted anew only on Linux")
@pytest.mark.parametrize("layout", ["hf", "twin", "native"])
def test_conversion_needs_less_than_one_and_a_half_models_of_memory(
    model: Path, tokenizer_folder: Path, tmp_path: Path, layout: str
) -> None:
    command = [sys.executable, "-c", PROGRAM, layout, model, tokenizer_folder, tmp_path / "output"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    model_bytes = (model / "model.safetensors").stat().st_size
    assert model_bytes > 100_000_000
    print(f"{layout}: {int(done.stdout) / model_bytes:.2f} models")
    assert int(done.stdout) < 1.5 * model_bytes
